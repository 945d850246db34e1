-- Gives the lease of an edge up: it leaves no purge behind, and its session serves nothing any more.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 the edge's durable id
--       2 the session
-- Returns 1 if the edge had a record.

redis.call('ZREM', members_key, ARGV[2])
return redis.call('ZREM', edges_key, ARGV[1])
