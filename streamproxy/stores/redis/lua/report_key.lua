-- Time is in milliseconds in this script.
--
-- KEYS  1 states
-- ARGV  1 key id · 2 status as JSON · 3 life of all states, counted from the last report

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
