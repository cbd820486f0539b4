-- Time is in milliseconds in this script.
--
-- Takes a turn out of its session or out of the queue; the next one may enter.
--
-- KEYS  1 lock · 2 queue · 3 waiting
-- ARGV  1 turn id · 2 how long to keep the lock's memory

local turn = ARGV[1]

redis.call('ZREM', KEYS[2], turn)
redis.call('HDEL', KEYS[3], turn)
if redis.call('HGET', KEYS[1], 'turn') == turn then
    redis.call('HDEL', KEYS[1], 'turn', 'until')
end
-- A renewal that is still on its way must not bring this turn back.
redis.call('HSET', KEYS[1], 'ended', turn)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
