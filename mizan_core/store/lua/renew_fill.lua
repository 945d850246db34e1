-- Prolongs a fill lease.
--
-- KEYS  1 {ns}:ctl  hash
--       2 {ns}:f:KEY  hash, the fill lease
-- ARGV  1 the holder's token
--       2 how long it lasts from now on, ms
-- Returns 1, or 0 where the lease is somebody else's.

if redis.call('HGET', KEYS[2], 'token') ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[2], ARGV[2])
