-- Time is in milliseconds in this script.
--
-- Adds a turn to its session, once, lets the oldest turns go that no longer fit, and lets the next turn in.
--
-- KEYS  1 content · 2 turns · 3 lock · 4 queue · 5 waiting
-- ARGV  1 turn id · 2 messages as JSON · 3 tokens · 4 number of messages · 5 system message as JSON or ''
--       6 most tokens · 7 most messages · 8 time to live · 9 how long to keep the lock's memory
-- A turn whose lease ran out is added all the same: what was said is kept.

local turn = ARGV[1]
local field = 'turn:' .. turn

if redis.call('HEXISTS', KEYS[1], field) == 0 then
    redis.call('HSET', KEYS[1], field, ARGV[2])
    redis.call('RPUSH', KEYS[2], ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. turn)
    if ARGV[5] ~= '' then
        redis.call('HSET', KEYS[1], 'system', ARGV[5])
    end
    local turns = redis.call('LRANGE', KEYS[2], 0, -1)
    local tokens, messages, kept = 0, 0, 0
    for i = #turns, 1, -1 do
        local t, m, id = string.match(turns[i], '^(%d+) (%d+) (.*)$')
        tokens, messages = tokens + t, messages + m
        -- The newest turn stays, however long.
        local fits = tokens <= tonumber(ARGV[6]) and messages <= tonumber(ARGV[7])
        if i < #turns and not fits then
            for oldest = 1, i do
                redis.call('HDEL', KEYS[1], 'turn:' .. string.match(turns[oldest], '^%d+ %d+ (.*)$'))
            end
            break
        end
        kept = kept + 1
    end
    redis.call('LTRIM', KEYS[2], -kept, -1)
end
redis.call('PEXPIRE', KEYS[1], ARGV[8])
redis.call('PEXPIRE', KEYS[2], ARGV[8])

-- From here on as in leave_session.lua.
redis.call('ZREM', KEYS[4], turn)
redis.call('HDEL', KEYS[5], turn)
if redis.call('HGET', KEYS[3], 'turn') == turn then
    redis.call('HDEL', KEYS[3], 'turn', 'until')
end
redis.call('HSET', KEYS[3], 'ended', turn)
redis.call('PEXPIRE', KEYS[3], ARGV[9])
return 1
