-- What waits to be swept.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 a fresh random id, used if a new incarnation begins
-- Returns {scope, seq, scope, seq, ...}, oldest first.

control(ARGV[1])
return redis.call('ZRANGE', bans_key, 0, 99, 'WITHSCORES')
