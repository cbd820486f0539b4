-- Time is in microseconds in this script.
--
-- Reads a session as it stands.
--
-- KEYS  1 content · 2 turns
-- Answer  {1, expiry, turns, fields and values}; the last two are empty where there is no session

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local expiry = redis.call('PTTL', KEYS[1])
expiry = expiry > 0 and now + expiry * 1000 or 0
return { 1, expiry, redis.call('LRANGE', KEYS[2], 0, -1), redis.call('HGETALL', KEYS[1]) }
