-- Ends a fill, and wakes who waits for it.
--
-- KEYS  1 {ns}:ctl  hash
--       2 {ns}:f:KEY  hash, the fill lease
-- ARGV  1 the holder's token
--       2 KEY, which is published on {ns}:wake
--       3 for how long fills of this key are not shared, ms; 0: the next one is
-- Returns 1, or 0 where the lease is somebody else's.

if redis.call('HGET', KEYS[2], 'token') ~= ARGV[1] then return 0 end
local waited = redis.call('HGET', KEYS[2], 'waited')
redis.call('DEL', KEYS[2])
if ARGV[3] ~= '0' then
  redis.call('HSET', KEYS[2], 'alone', 1)
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
if waited then redis.call('PUBLISH', prefix .. 'wake', ARGV[2]) end
return 1
