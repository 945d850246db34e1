-- Makes a session of an edge a member, and takes the edge's lease. Only with one may an edge read entries.
--
-- An edge that has purges in its journal does not come here, so its lease runs out. Another one that had lost its own
-- lease meanwhile cannot know what those purges were: it finds the lapsed record, and makes everything dead.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 a fresh random id, used if a new incarnation begins
--       2 the edge's durable id
--       3 the session: a random id, used once; it knows nothing yet
--       4 how long the lease lasts, ms
--       5 the session that this one follows, '' if none: it has no memory any more, so purges need not wait for it
-- Returns {incarnation, seq, now in ms, 1 if everything was purged}: the session hears of every purge after seq.

redis.call('DEL', prefix .. 'scratch') -- a full memory lets a script go on that begins so; a replica does not
local c = mend(control(ARGV[1]), ARGV[1])
local edge, session, lease = ARGV[2], ARGV[3], ARGV[4]
local now, flushed = now_ms(), 0
local mine = redis.call('ZSCORE', edges_key, edge)
if not mine or tonumber(mine) <= now then
  redis.call('ZREM', edges_key, edge)
  if redis.call('ZREMRANGEBYSCORE', edges_key, '-inf', now) > 0 then
    flushed = 1
    c.seq = redis.call('HINCRBY', ctl, 'seq', 1)
    redis.call('HSET', ctl, 'epoch', c.seq)
    record('', c.seq, false)
    for _, context in ipairs(redis.call('SMEMBERS', prefix .. 'contexts')) do record(context, c.seq, true) end
    announce(c.inc, c.seq, '', { '' })
    audit(c.inc, c.seq, '{"source":"lapsed edge"}', 0, 1, { '' })
  end
end
redis.call('ZREM', members_key, ARGV[5])
redis.call('ZADD', edges_key, now + lease, edge)
redis.call('ZADD', members_key, now + lease, session)
return { c.inc, c.seq, now, flushed }
