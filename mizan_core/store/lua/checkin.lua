-- Takes or renews an edge's lease. Only with one may an edge read entries.
--
-- An edge that has purges in its journal does not come here, so its lease runs out. Another one that had lost its own
-- lease meanwhile cannot know what those purges were: it finds the lapsed record, and makes everything dead.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 a fresh random id, used if a new incarnation begins
--       2 the edge's durable id
--       3 how long the lease lasts, ms
-- Returns {incarnation, 1 if everything was purged}.

redis.call('DEL', prefix .. 'scratch') -- a full memory lets a script go on that begins so; a replica does not
local c = mend(control(ARGV[1]), ARGV[1])
local edges, now, flushed = prefix .. 'edges', now_ms(), 0
if not has_type(edges, 'zset') then redis.call('UNLINK', edges) end
local mine = redis.call('ZSCORE', edges, ARGV[2])
if not mine or tonumber(mine) <= now then
  redis.call('ZREM', edges, ARGV[2])
  if redis.call('ZREMRANGEBYSCORE', edges, '-inf', now) > 0 then
    flushed = 1
    local seq = redis.call('HINCRBY', ctl, 'seq', 1)
    redis.call('HSET', ctl, 'epoch', seq)
    record('', seq, false)
    for _, context in ipairs(redis.call('SMEMBERS', prefix .. 'contexts')) do record(context, seq, true) end
  end
end
redis.call('ZADD', edges, now + ARGV[3], ARGV[2])
return { c.inc, flushed }
