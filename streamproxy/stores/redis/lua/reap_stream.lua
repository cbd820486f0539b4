-- Time is in microseconds in this script.
--
-- Ends a stream whose owner is dead, in its place; the first who asks does it. Who wants to settle what the owner left
-- may do so for a while, then the next who asks.
--
-- A lease that is over says little after Redis itself was away, or took no writes: then every lease is over. With
-- patience the owner is dead only when the lease has stayed so through that time, in which somebody asked again and
-- again and was answered; each ask is a write, as a renewal is.
--
-- KEYS  1 head · 2 log
-- ARGV  1 state · 2 the terminal event · 3 milliseconds to keep it · 4 how long the caller may settle, 0: it will not
--       5 patience · 6 the terminal event's number, beyond all that the owner's readers may have seen
--
-- Answer  1 settle it · 0 leave it: the owner lives, or somebody is at it · -1 nothing to settle: its owner has ended
--         it, or it is not held any more

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local head = redis.call('HMGET', KEYS[1], 'state', 'lease', 'reaped', 'heir', 'doubted', 'asked')
if not head[1] then
    return -1
end
if head[1] == 'running' then
    if tonumber(head[2]) >= now then
        return 0
    end
    local patience = tonumber(ARGV[5])
    if patience > 0 then
        local doubted, asked = tonumber(head[5] or 0), tonumber(head[6] or 0)
        if doubted < tonumber(head[2]) or now - asked > patience then
            doubted = now
        end
        redis.call('HSET', KEYS[1], 'doubted', string.format('%.0f', doubted), 'asked', string.format('%.0f', now))
        if now - doubted < patience then
            return 0
        end
    end
    redis.call('XADD', KEYS[2], ARGV[6] .. '-0', 'f', ARGV[6], 'd', ARGV[2])
    redis.call('HSET', KEYS[1], 'last', ARGV[6], 'state', ARGV[1], 'reaped', '1')
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
    redis.call('PEXPIRE', KEYS[2], ARGV[3])
elseif not head[3] then
    return -1
end
local settling = tonumber(ARGV[4])
if settling == 0 or (head[4] and tonumber(head[4]) >= now) then
    return 0
end
redis.call('HSET', KEYS[1], 'heir', string.format('%.0f', now + settling))
return 1
