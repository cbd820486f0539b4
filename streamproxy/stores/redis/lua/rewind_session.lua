-- Time is in microseconds in this script.
--
-- Takes a turn and all after it out of a session. The system message stays, and so does the time to live.
--
-- KEYS  1 content · 2 turns
-- ARGV  1 turn id
-- Answer  how many turns went

local turns = redis.call('LRANGE', KEYS[2], 0, -1)
for i = 1, #turns do
    if string.match(turns[i], '^%d+ %d+ (.*)$') == ARGV[1] then
        for later = i, #turns do
            redis.call('HDEL', KEYS[1], 'turn:' .. string.match(turns[later], '^%d+ %d+ (.*)$'))
        end
        if i == 1 then
            redis.call('DEL', KEYS[2])
        else
            redis.call('LTRIM', KEYS[2], 0, i - 2)
        end
        return #turns - i + 1
    end
end
return 0
