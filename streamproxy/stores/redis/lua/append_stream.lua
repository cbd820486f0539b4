-- Time is in microseconds in this script.
--
-- Appends a batch of events to a stream's log and renews its owner's lease. Repeated, it appends once.
--
-- KEYS  1 head · 2 log
-- ARGV  1 owner · 2 first · 3 last number of the batch (last < first: nothing new) · 4 state after it · 5 events
--       6 template or '' · 7 lease · 8 milliseconds to keep it
--
-- Answer  {code, last number in the log, microseconds since it was read elsewhere or -1}
--         0 written · -1 fenced: another owner, or ended by somebody else · -2 no such stream · -3 a gap

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local head = redis.call('HMGET', KEYS[1], 'owner', 'state', 'last', 'read')
if not head[1] then
    return { -2, 0, -1 }
end
local held = tonumber(head[3])
local first, last = tonumber(ARGV[2]), tonumber(ARGV[3])
local read = head[4] and now - tonumber(head[4]) or -1

if head[1] ~= ARGV[1] then
    return { -1, held, read }
end
if head[2] ~= 'running' then
    -- Our own ending, told again because the answer was lost; or the end that somebody else wrote for us.
    return { (ARGV[4] ~= 'running' and last == held and head[2] == ARGV[4]) and 0 or -1, held, read }
end
if held > 0 and redis.call('EXISTS', KEYS[2]) == 0 then
    -- Evicted apart from its head: the owner has it all and sends it again.
    redis.call('HSET', KEYS[1], 'last', '0')
    held = 0
end
local lease = string.format('%.0f', now + tonumber(ARGV[7]))
if last >= first and last > held then
    if first ~= held + 1 then
        return { -3, held, read }
    end
    redis.call('XADD', KEYS[2], ARGV[3] .. '-0', 'f', ARGV[2], 'd', ARGV[5])
    redis.call('HSET', KEYS[1], 'last', ARGV[3], 'state', ARGV[4], 'lease', lease)
    redis.call('PEXPIRE', KEYS[2], ARGV[8])
    held = last
else
    if last >= first and last < held and ARGV[4] ~= 'running' then
        return { -3, held, read }
    end
    redis.call('HSET', KEYS[1], 'lease', lease)
    redis.call('PEXPIRE', KEYS[2], ARGV[8])
end
if ARGV[6] ~= '' then
    redis.call('HSETNX', KEYS[1], 'template', ARGV[6])
end
redis.call('PEXPIRE', KEYS[1], ARGV[8])
return { 0, held, read }
