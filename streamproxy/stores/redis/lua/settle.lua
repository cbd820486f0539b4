-- Time is in milliseconds in this script.
--
-- Ends a reservation, once: frees its running place and corrects what it took.
--
-- KEYS  1 what the request took · 2 running places · then one a correction
-- ARGV  1 request id · 2 'settled' or 'refunded' · 3 stamps · 4 how long to remember that it ended
--       then three a correction: kind, where, amount
-- A count that is no longer there is left alone: its window or day is over, or Redis lost it.

redis.call('ZREM', KEYS[2], ARGV[1])

local known = redis.call('GET', KEYS[1])
if known and not string.find(known, '^held ') then
    return 0
end

for i = 3, #KEYS do
    local key = KEYS[i]
    local a = 5 + 3 * (i - 3)
    local kind, where, amount = ARGV[a], ARGV[a + 1], ARGV[a + 2]
    if kind == 'ring' then
        redis.call('LREM', key, 1, where)
    elseif kind == 'cells' then
        if redis.call('HEXISTS', key, where) == 1 then
            redis.call('HINCRBY', key, where, amount)
        end
    elseif redis.call('EXISTS', key) == 1 then
        redis.call('INCRBY', key, amount)
    end
end

redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[3], 'PX', ARGV[4])
return 1
