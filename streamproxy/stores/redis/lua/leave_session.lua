-- Time is in milliseconds in this script.
--
-- Takes a turn out of its session or out of the queue; the next one may enter.
--
-- KEYS  1 lock · 2 queue · 3 waiting
-- ARGV  1 turn id · 2 how long to keep the lock's memory

-- Here stands ending.lua.

ending(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2])
return 1
