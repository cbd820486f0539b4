-- Time is in milliseconds in this script.
--
-- Binds a client's key, unless it is bound; answers what it is bound to.
--
-- KEYS  1 the client's key
-- ARGV  1 stream id and digest of the request · 2 how long it stays bound

local bound = redis.call('GET', KEYS[1])
if bound then
    return bound
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
