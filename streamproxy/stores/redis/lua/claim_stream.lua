-- Time is in milliseconds in this script.
--
-- KEYS  1 the client's key
-- ARGV  1 stream id · 2 how long it stays bound

local bound = redis.call('GET', KEYS[1])
if bound then
    return bound
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
