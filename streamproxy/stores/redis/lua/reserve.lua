-- Time is in microseconds in this script.
--
-- Takes one request, some tokens and a running place from all limits of an ask, or nothing at all.
-- Asked again with the same request id it takes nothing and names what was taken the first time.
--
-- KEYS  1 what the request took · 2 running places · then one a limit
-- ARGV  1 request id · 2 tokens · 3 tokens to spare: taken, too, where half of every window stays free with them
--       4 places (0: unbounded) · 5 lease · 6 milliseconds to remember the request
--       then four a limit: kind, count, and
--         ring           window, 0
--         cells          window, width of a bucket
--         requests-day   first and last-exclusive time of the calendar day; tokens-day likewise
--
-- Answer  {-1, now} when now is in another day, else {1 or 0 admitted, number of the refusing limit (0: places),
--         time to wait, stamps, then remaining and time to reset of each limit}; what is taken to spare is in the
--         stamps, and counts as remaining in the answer to the ask that takes it

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local tokens = tonumber(ARGV[2])
local spare = tonumber(ARGV[3])
local places = tonumber(ARGV[4])

-- Lua prints 14 digits of a number, and a time has 16.
local function digits(number)
    return string.format('%.0f', number)
end

local function milliseconds(microseconds)
    return digits(math.ceil(microseconds / 1000))
end

-- Every look returns: used, wait (0: there is room), reset, and take(amount), which returns its stamp.
local look = {}

-- Requests in a sliding window: a list of their times, newest first. A window is (t - length, t].
-- A clock that steps back counts as standing still, so it can delay and never admit more.
look['ring'] = function(key, count, window)
    local length = redis.call('LLEN', key)
    local at, inside, wait, reset = now, 0, 0, 0
    if length > 0 then
        local newest = tonumber(redis.call('LINDEX', key, 0))
        at = math.max(now, newest)
        local outside = length
        if tonumber(redis.call('LINDEX', key, length - 1)) > at - window then
            inside = length
        end
        while inside < outside do
            local middle = math.floor((inside + outside) / 2)
            if tonumber(redis.call('LINDEX', key, middle)) > at - window then
                inside = middle + 1
            else
                outside = middle
            end
        end
        if inside > 0 then
            reset = newest + window - now
        end
        if inside >= count then
            wait = tonumber(redis.call('LINDEX', key, count - 1)) + window - now
        end
    end
    return inside, wait, reset, function()
        redis.call('LPUSH', key, digits(at))
        if inside < length then
            redis.call('LTRIM', key, 0, inside)
        end
        redis.call('PEXPIRE', key, milliseconds(at + window - now) + 1000)
        return digits(at), at + window - now
    end
end

-- Tokens in a sliding window: buckets of time. The oldest that reaches into the window counts whole.
look['cells'] = function(key, count, window, width)
    local flat = redis.call('HGETALL', key)
    local bucket = math.floor(now / width)
    for i = 1, #flat, 2 do
        bucket = math.max(bucket, tonumber(flat[i]))
    end
    local oldest = math.floor((math.max(now, bucket * width) - window) / width)
    local used, newest, inside, outside = 0, 0, {}, {}
    for i = 1, #flat, 2 do
        local index, amount = tonumber(flat[i]), tonumber(flat[i + 1])
        if index < oldest then
            outside[#outside + 1] = flat[i]
        else
            inside[#inside + 1] = { index = index, amount = amount }
            used = used + amount
            if amount > 0 then
                newest = math.max(newest, index)
            end
        end
    end
    local function leaves(index)
        return (index + 1) * width + window - now
    end
    local wait = 0
    if tokens > count then
        wait = window
    elseif used + tokens > count then
        table.sort(inside, function(a, b) return a.index < b.index end)
        local missing = used + tokens - count
        for _, cell in ipairs(inside) do
            missing = missing - cell.amount
            if missing <= 0 then
                wait = leaves(cell.index)
                break
            end
        end
    end
    return used, wait, used > 0 and leaves(newest) or 0, function(amount)
        redis.call('HINCRBY', key, digits(bucket), amount)
        if #outside > 0 then
            redis.call('HDEL', key, unpack(outside))
        end
        redis.call('PEXPIRE', key, milliseconds(leaves(bucket)) + 1000)
        return digits(bucket) .. ':' .. amount, amount > 0 and leaves(bucket)
    end
end

local function look_at_day(key, count, first, last, wanted)
    local used = tonumber(redis.call('GET', key) or 0)
    local left = last - now
    local wait = used + wanted > count and left or 0
    return used, wait, used > 0 and left or 0, function(amount)
        redis.call('INCRBY', key, amount)
        -- An hour longer than the day: what was taken before midnight is settled after it.
        redis.call('PEXPIRE', key, milliseconds(left) + 3600000)
        return digits(first / 1000000) .. ':' .. amount, amount > 0 and left
    end
end

look['requests-day'] = function(key, count, first, last)
    return look_at_day(key, count, first, last, 1)
end

look['tokens-day'] = function(key, count, first, last)
    return look_at_day(key, count, first, last, tokens)
end

for i = 7, #ARGV, 4 do
    if string.find(ARGV[i], '-day', 1, true) and (now < tonumber(ARGV[i + 2]) or now >= tonumber(ARGV[i + 3])) then
        return { -1, now }
    end
end

local known = redis.call('GET', KEYS[1])
local stamps = known and (string.match(known, '^held (.*)$') or string.match(known, '^settled (.*)$'))
local repeated = stamps and true or false

local refusing, longest = 0, 0
if places > 0 and redis.call('ZCOUNT', KEYS[2], '(' .. digits(now), '+inf') >= places then
    longest = 1000000
end
local limits = {}
for n = 1, #KEYS - 2 do
    local a = 3 + 4 * n
    local count = tonumber(ARGV[a + 1])
    local used, wait, reset, take = look[ARGV[a]](KEYS[n + 2], count, tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]))
    limits[n] = { count = count, used = used, reset = reset, take = take }
    limits[n].of_tokens = not string.find(ARGV[a], '^r')
    if wait > longest then
        refusing, longest = n, wait
    end
end

if not repeated and longest == 0 then
    for _, limit in ipairs(limits) do
        if limit.of_tokens and limit.used + tokens + spare > math.floor(limit.count / 2) then
            spare = 0
        end
    end
    local taken = {}
    for n, limit in ipairs(limits) do
        local reset
        taken[n], reset = limit.take(limit.of_tokens and tokens + spare or 1)
        limit.used = limit.used + (limit.of_tokens and tokens or 1)
        limit.reset = reset or limit.reset
    end
    stamps = table.concat(taken, ' ')
    redis.call('SET', KEYS[1], 'held ' .. stamps, 'PX', ARGV[6])
    if places > 0 then
        -- Not before anything else is written: a Redis without memory refuses what may need more only as the first
        -- write of a script, and this is none of those.
        redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', digits(now))
        redis.call('ZADD', KEYS[2], digits(now + tonumber(ARGV[5])), ARGV[1])
        redis.call('PEXPIRE', KEYS[2], milliseconds(tonumber(ARGV[5])) + 1000)
    end
end

local admitted = repeated or longest == 0
local answer = { admitted and 1 or 0, refusing, admitted and 0 or longest, stamps or '' }
for _, limit in ipairs(limits) do
    answer[#answer + 1] = math.max(0, limit.count - limit.used)
    answer[#answer + 1] = limit.reset
end
return answer
