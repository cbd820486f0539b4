-- Time is in milliseconds in this script.
--
-- Replaces a key's status if it is still the one that was read. Repeated, it finds its own and says so.
--
-- KEYS  1 states
-- ARGV  1 key id · 2 status as read ('' for none) · 3 status to be · 4 life of all states, from the last change
-- Answer  the status that stands then

local stands = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if stands == ARGV[2] then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    return ARGV[3]
end
return stands
