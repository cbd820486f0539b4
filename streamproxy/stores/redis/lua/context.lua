-- Time is in microseconds in this script.
--
-- What is known of a session's turns, and its system message; a part of other scripts.
--
-- What was said is not among it: Redis's Lua hashes every byte of every string it makes, and a list read by LRANGE
-- behind the script costs a sixth. The two keys may end apart (evicted, or a millisecond one after the other): then
-- the list has another length, and whoever reads it takes it that nothing was said.
--
-- Answer  {1, expiry or 0, how many turns, their lines, one below the other, their tokens together (0 when one's are
--         not known), system message or false}

local function context(content, now)
    local expiry = redis.call('PTTL', content)
    expiry = expiry > 0 and now + expiry * 1000 or 0
    local held = redis.call('HMGET', content, 'turns', 'lines', 'tokens', 'unsized', 'system')
    local turns = tonumber(held[1] or 0)
    return { 1, expiry, turns, held[2] or '', held[4] == '0' and tonumber(held[3]) or 0, held[5] }
end
