-- Time is in microseconds in this script.
--
-- Takes a turn and all after it out of a session. The system message stays, and so does the time to live.
--
-- KEYS  1 content · 2 said
-- ARGV  1 turn id
-- Answer  how many turns went

local held = redis.call('HMGET', KEYS[1], 'turns', 'lines')
local stay, messages, tokens, unsized = {}, 0, 0, 0
for line in string.gmatch(held[2] or '', '[^\n]+') do
    local size, count, turn = string.match(line, '^(%d+) (%d+) (.*)$')
    if turn == ARGV[1] then
        if #stay == 0 then
            redis.call('DEL', KEYS[2])
        else
            redis.call('LTRIM', KEYS[2], 0, #stay - 1)
        end
        redis.call('HSET', KEYS[1], 'turns', #stay, 'messages', messages, 'tokens', tokens, 'unsized', unsized,
            'lines', table.concat(stay, '\n'))
        return held[1] - #stay
    end
    stay[#stay + 1], messages, tokens = line, messages + count, tokens + size
    unsized = unsized + (size == '0' and 1 or 0)
end
return 0
