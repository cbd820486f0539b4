-- Time is in microseconds in this script.
--
-- Ends a stream whose owner is dead, in its place; the first who asks does it.
--
-- KEYS  1 head · 2 log
-- ARGV  1 state · 2 the terminal event · 3 milliseconds to keep it

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local head = redis.call('HMGET', KEYS[1], 'state', 'last', 'lease')
if head[1] ~= 'running' or tonumber(head[3]) >= now then
    return 0
end
local last = string.format('%.0f', tonumber(head[2]) + 1)
redis.call('XADD', KEYS[2], last .. '-0', 'f', last, 'd', ARGV[2])
redis.call('HSET', KEYS[1], 'last', last, 'state', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
