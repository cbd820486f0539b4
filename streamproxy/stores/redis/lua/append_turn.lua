-- Time is in milliseconds in this script.
--
-- Adds a turn to its session, once, lets the oldest turns go that no longer fit, and lets the next turn in.
--
-- KEYS  1 content · 2 said · 3 lock · 4 queue · 5 waiting
-- ARGV  1 turn id · 2 its messages as JSON, with commas in between · 3 tokens · 4 number of messages
--       5 system message as JSON or '' · 6 most tokens · 7 most messages · 8 time to live
--       9 how long to keep the lock's memory
-- A turn whose lease ran out is added all the same: what was said is kept.

-- Here stands ending.lua.

local turn = ARGV[1]
local held = redis.call('HMGET', KEYS[1], 'turns', 'messages', 'tokens', 'unsized', 'lines')
local turns, messages = tonumber(held[1] or 0), tonumber(held[2] or 0)
local tokens, unsized = tonumber(held[3] or 0), tonumber(held[4] or 0)
local lines = held[5] or ''

if redis.call('LLEN', KEYS[2]) ~= turns then
    -- One of the two was evicted apart from the other.
    redis.call('DEL', KEYS[2])
    turns, messages, tokens, unsized, lines = 0, 0, 0, 0, ''
end

if not string.find(lines .. '\n', ' ' .. turn .. '\n', 1, true) then
    redis.call('RPUSH', KEYS[2], ARGV[2])
    local line = ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. turn
    lines = turns == 0 and line or lines .. '\n' .. line
    turns, messages, tokens = turns + 1, messages + ARGV[4], tokens + ARGV[3]
    unsized = unsized + (ARGV[3] == '0' and 1 or 0)

    -- The newest turn stays, however long.
    local oldest, gone = 1, 0
    while turns > 1 and (tokens > tonumber(ARGV[6]) or messages > tonumber(ARGV[7])) do
        local size, count, rest = string.match(lines, '^(%d+) (%d+) [^\n]*\n()', oldest)
        turns, messages, tokens = turns - 1, messages - count, tokens - size
        unsized = unsized - (size == '0' and 1 or 0)
        oldest, gone = rest, gone + 1
    end
    if gone > 0 then
        redis.call('LTRIM', KEYS[2], gone, -1)
        lines = string.sub(lines, oldest)
    end

    redis.call('HSET', KEYS[1], 'turns', turns, 'messages', messages, 'tokens', tokens, 'unsized', unsized,
        'lines', lines)
    if ARGV[5] ~= '' then
        redis.call('HSET', KEYS[1], 'system', ARGV[5])
    end
end
redis.call('PEXPIRE', KEYS[1], ARGV[8])
redis.call('PEXPIRE', KEYS[2], ARGV[8])

ending(KEYS[3], KEYS[4], KEYS[5], turn, ARGV[9])
return 1
