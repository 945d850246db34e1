-- Tells who takes part: the edges, and their sessions, which purges wait for.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 a fresh random id, used if a new incarnation begins
-- Returns {now in ms, {edge, end of its lease, ...}, {session, end of its lease, ...}}, each by the end of the lease.

control(ARGV[1])
local reply = { now_ms() }
for i, key in ipairs({ edges_key, members_key }) do
  local leases = redis.pcall('ZRANGE', key, 0, -1, 'WITHSCORES')
  reply[i + 1] = leases.err and {} or leases -- another hand has put something else there
end
return reply
