-- Time is in microseconds in this script.
--
-- Keeps the list of running streams, by the end of their leases; answers those that are overdue.
--
-- KEYS  1 list
-- ARGV  1 lease · 2 how many run · their ids · then the ids of those that ended

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local running = tonumber(ARGV[2])
for i = 3, #ARGV do
    if i < 3 + running then
        redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[1])), ARGV[i])
    else
        redis.call('ZREM', KEYS[1], ARGV[i])
    end
end
redis.call('PEXPIRE', KEYS[1], 3600000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, 100)
