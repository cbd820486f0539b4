-- Time is in microseconds in this script.
--
-- What of a session goes into a prompt; a part of other scripts. A turn whose content is gone is left out: it was
-- evicted, or ran out a millisecond before the list.
--
-- What was said is handed on as it is: Redis's Lua hashes every byte of every string it makes, so that to cut and to
-- join the messages here would cost Redis several times what it costs the worker.
--
-- Answer  {1, expiry or 0, lines of the turns, one below the other, their tokens together (0 when one's are not known,
--         or one was left out), {system message or false, what was said in each turn}}; no lines without a session

-- The newest, because unpack() takes no more than some 8000.
local MOST_TURNS = 5000

local function context(content, turns, now)
    local expiry = redis.call('PTTL', content)
    local lines, fields = redis.call('LRANGE', turns, -MOST_TURNS, -1), { 'system' }
    local tokens, known = 0, true
    for i = 1, #lines do
        local size, turn = string.match(lines[i], '^(%d+) %d+ (.*)$')
        fields[i + 1], tokens, known = 'turn:' .. turn, tokens + size, known and size ~= '0'
    end
    local held = redis.call('HMGET', content, unpack(fields))
    for i = #held, 2, -1 do
        if not held[i] then
            table.remove(held, i)
            table.remove(lines, i - 1)
            known = false
        end
    end
    expiry = expiry > 0 and now + expiry * 1000 or 0
    return { 1, expiry, table.concat(lines, '\n'), known and tokens or 0, held }
end
