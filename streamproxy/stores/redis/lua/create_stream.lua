-- Time is in microseconds in this script.
--
-- Begins a stream's log. Asked again by the same owner it changes nothing.
--
-- KEYS  1 head · 2 log
-- ARGV  1 owner · 2 what is known of the stream, as JSON · 3 lease · 4 milliseconds to keep it

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

if redis.call('EXISTS', KEYS[1]) == 1 then
    return 0
end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'about', ARGV[2], 'state', 'running', 'last', '0',
    'lease', string.format('%.0f', now + tonumber(ARGV[3])))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
