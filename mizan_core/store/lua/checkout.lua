-- Gives an edge's lease up: it leaves no purge behind.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 the edge's durable id
-- Returns 1 if it had a record.

return redis.call('ZREM', prefix .. 'edges', ARGV[1])
