-- Ends a fill, and wakes who waits for it.
--
-- KEYS  1 {ns}:ctl  hash
--       2 {ns}:f:KEY  hash, the fill lease
-- ARGV  1 the holder's token
--       2 KEY, which is published on {ns}:wake
--       3 for how long fills of this key are not shared, ms; 0: the next one is
-- Returns 1, or 0 where the lease is somebody else's.

if not end_lease(KEYS[2], ARGV[1], ARGV[2]) then return 0 end
if ARGV[3] ~= '0' then
  redis.call('HSET', KEYS[2], 'alone', 1)
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return 1
