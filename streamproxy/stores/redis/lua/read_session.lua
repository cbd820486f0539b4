-- Time is in microseconds in this script.
--
-- Reads a session as it stands.
--
-- KEYS  1 content · 2 turns
-- Answer  that of context.lua

-- Here stands context.lua.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
return context(KEYS[1], KEYS[2], now)
