-- Renews the lease of a session, and tells it what it may have missed: a subscription may be dead and not know it.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 a fresh random id, used if a new incarnation begins
--       2 the edge's durable id
--       3 the session
--       4 the incarnation that it knows
--       5 the last purge up to which it knows all
--       6 how long the lease lasts, ms
-- Returns {what, incarnation, seq, now in ms, scope, ...}:
--   'ok'           renewed; the scopes are those purged since, '' is everything
--   'gone'         not renewed: its record has run out, or is not there
--   'incarnation'  not renewed: what the store holds is not what the session knew

local MAX_NEWS = 1000 -- scopes in one answer; with more, all of the memory is dropped

redis.call('DEL', prefix .. 'scratch') -- a full memory lets a script go on that begins so; a replica does not
local c = mend(control(ARGV[1]), ARGV[1])
local edge, session, seen, lease = ARGV[2], ARGV[3], tonumber(ARGV[5]), ARGV[6]
local now = now_ms()
if c.inc ~= ARGV[4] then return { 'incarnation', c.inc, c.seq, now } end
local ends = redis.call('ZSCORE', members_key, session)
if not ends or tonumber(ends) <= now then return { 'gone', c.inc, c.seq, now } end
redis.call('ZADD', edges_key, now + lease, edge)
redis.call('ZADD', members_key, now + lease, session)

local reply = { 'ok', c.inc, c.seq, now }
if seen < c.floor or seen > c.seq or redis.call('ZCOUNT', log_key, '(' .. seen, '+inf') > MAX_NEWS then
  reply[5] = ''
else
  for i, scope in ipairs(redis.call('ZRANGEBYSCORE', log_key, '(' .. seen, '+inf')) do reply[4 + i] = scope end
end
return reply
