-- Time is in microseconds in this script.
--
-- Prolongs a turn's lease, also one that ran out, as long as no other turn has entered.
--
-- KEYS  1 lock
-- ARGV  1 turn id · 2 lease · 3 milliseconds to keep the lock's memory

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local lock = redis.call('HMGET', KEYS[1], 'turn', 'ended')

local holder = lock[1] ~= '' and lock[1]
if lock[2] == ARGV[1] or (holder and holder ~= ARGV[1]) then
    return 0
end
redis.call('HSET', KEYS[1], 'turn', ARGV[1], 'until', string.format('%.0f', now + tonumber(ARGV[2])))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
