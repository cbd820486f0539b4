-- Time is in microseconds in this script.
--
-- Reads what a stream's log holds behind a number, and notes that somebody reads here.
--
-- KEYS  1 head · 2 log
-- ARGV  1 number · 2 most batches
--
-- Answer  {} without such a stream, else {state, last number, microseconds the lease is over, template, batches};
--         a batch is {id, {'f', first, 'd', events}}; the first may begin before the number

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local head = redis.call('HMGET', KEYS[1], 'state', 'last', 'lease', 'template')
if not head[1] then
    return {}
end
local batches = {}
if tonumber(head[2]) > tonumber(ARGV[1]) then
    batches = redis.call('XRANGE', KEYS[2], '(' .. ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])
end
local overdue = 0
if head[1] == 'running' then
    overdue = math.max(0, now - tonumber(head[3]))
    redis.call('HSET', KEYS[1], 'read', string.format('%.0f', now))
end
return { head[1], tonumber(head[2]), overdue, head[4] or '', batches }
