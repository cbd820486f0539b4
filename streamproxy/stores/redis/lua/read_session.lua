-- Time is in microseconds in this script.
--
-- Reads a session as it stands.
--
-- KEYS  1 content · 2 said
-- Answer  that of context.lua, and what was said in each turn

-- Here stands context.lua.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answer = context(KEYS[1], now)
local said = redis.call('LRANGE', KEYS[2], 0, -1)
if #said ~= answer[3] then
    answer[3], answer[4], answer[5], said = 0, '', 0, {}
end
answer[7] = said
return answer
