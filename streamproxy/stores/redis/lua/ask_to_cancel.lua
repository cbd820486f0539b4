-- Time is in microseconds in this script.
--
-- Notes a cancellation for whichever worker runs the stream ('' notes none); answers all that were noted lately.
--
-- KEYS  1 list
-- ARGV  1 the cancellation · 2 how long it is kept

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if ARGV[1] ~= '' then
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
end
return redis.call('ZRANGE', KEYS[1], 0, -1)
