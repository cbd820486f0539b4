-- Time is in milliseconds in this script.
--
-- Takes a turn out of its session or out of the queue; a part of other scripts.

local function ending(lock, queue, waiting, turn, memory)
    if redis.call('ZREM', queue, turn) == 1 then
        redis.call('HDEL', waiting, turn)
    end
    -- A renewal that is still on its way must not bring this turn back.
    if redis.call('HGET', lock, 'turn') == turn then
        redis.call('HSET', lock, 'turn', '', 'ended', turn)
    else
        redis.call('HSET', lock, 'ended', turn)
    end
    redis.call('PEXPIRE', lock, memory)
end
