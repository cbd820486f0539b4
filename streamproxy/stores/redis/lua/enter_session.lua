-- Time is in microseconds in this script.
--
-- Lets a turn into its session if it is the first in the queue and nobody is inside; else keeps its place.
--
-- KEYS  1 lock · 2 queue · 3 waiting · 4 content
-- ARGV  1 turn id · 2 arrival as told before (0: new) · 3 lease of the lock · 4 patience: a waiter silent for
--       longer is skipped · 5 most waiters · 6 milliseconds to keep a queue nobody asks about
--
-- Answer  that of context.lua inside · {0, arrival} waiting · {-1} the queue is full

-- Here stands context.lua.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local turn = ARGV[1]

local function digits(number)
    return string.format('%.0f', number)
end

local function skip(waiter)
    redis.call('ZREM', KEYS[2], waiter)
    redis.call('HDEL', KEYS[3], waiter)
end

local function dead(waiter)
    return tonumber(redis.call('HGET', KEYS[3], waiter) or 0) < now
end

local lock = redis.call('HMGET', KEYS[1], 'turn', 'until')
local holder = lock[1]
if holder == '' or (holder and holder ~= turn and tonumber(lock[2]) <= now) then
    holder = false
end
local waiters = holder == turn and 0 or redis.call('ZCARD', KEYS[2])

-- Nearly always nobody is inside and nobody waits: then there is no queue to go through.
if waiters > 0 or (holder and holder ~= turn) then
    local arrival = redis.call('ZSCORE', KEYS[2], turn)
    if not arrival then
        if waiters >= tonumber(ARGV[5]) then
            for _, waiter in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
                if dead(waiter) then
                    skip(waiter)
                end
            end
            if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then
                return { -1 }
            end
        end
        -- Whoever arrives in the same microsecond, or after a step back of the clock, still comes after the last.
        -- A turn that was here before (skipped, or forgotten by Redis) takes its old place.
        arrival = tonumber(ARGV[2])
        if arrival == 0 then
            local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
            arrival = math.max(now, tonumber(last[2] or 0) + 1)
        end
        redis.call('ZADD', KEYS[2], digits(arrival), turn)
    end
    redis.call('HSET', KEYS[3], turn, digits(now + tonumber(ARGV[4])))
    local first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
    while first ~= turn and dead(first) do
        skip(first)
        first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
    end
    if holder or first ~= turn then
        redis.call('PEXPIRE', KEYS[2], ARGV[6])
        redis.call('PEXPIRE', KEYS[3], ARGV[6])
        return { 0, tonumber(arrival) }
    end
    skip(turn)
end

redis.call('HSET', KEYS[1], 'turn', turn, 'until', digits(now + tonumber(ARGV[3])), 'ended', '')
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return context(KEYS[4], now)
