-- Time is in microseconds in this script.
--
-- Prolongs running places, and puts back those that ran out while nobody could reach Redis.
--
-- KEYS  1 running places · then what each request took
-- ARGV  1 lease · then the request ids
-- A stream that ended while its renewal was on the way stays ended.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local lease = tonumber(ARGV[1])

for i = 2, #KEYS do
    local known = redis.call('GET', KEYS[i])
    if not known or string.find(known, '^held ') then
        redis.call('ZADD', KEYS[1], string.format('%.0f', now + lease), ARGV[i])
    end
end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', lease / 1000 + 1000))
return #KEYS - 1
