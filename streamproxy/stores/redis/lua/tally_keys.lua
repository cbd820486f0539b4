-- Time is in milliseconds in this script.
--
-- Adds to the counts of keys.
--
-- KEYS  1 tallies
-- ARGV  1 life of all tallies, from the last addition
--       then five a key: its id, requests, errors, code of the last error ('' for none), epoch second of it

for i = 2, #ARGV, 5 do
    redis.call('HINCRBY', KEYS[1], ARGV[i] .. ':requests', ARGV[i + 1])
    redis.call('HINCRBY', KEYS[1], ARGV[i] .. ':errors', ARGV[i + 2])
    if ARGV[i + 3] ~= '' then
        redis.call('HSET', KEYS[1], ARGV[i] .. ':last', ARGV[i + 3], ARGV[i] .. ':at', ARGV[i + 4])
    end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
