-- Decides who asks the origin for an entry that a read has just missed: one fill for a key, on the whole fleet.
--
-- KEYS  1 {ns}:ctl  hash
--       2 {ns}:e:KEY  string, the entry
--       3 {ns}:f:KEY  hash, the fill lease: token of its holder; inc and seq, the fence of the fill; waited: somebody
--         waits; alone: fills of this key cannot be shared, everybody asks. The only key beside entries with a TTL.
-- ARGV  1 a fresh random id, used if a new incarnation begins
--       2 the caller's token
--       3 how long its lease lasts if it gets one, ms
--       4 the names of the indexes that the entry will stand in, as far as the request shows them, a line each
--       5 the seal of an entry that the caller has seen and cannot use, or ''
--       6 the entry's KEY, which is published on {ns}:wake
-- Returns {what, inc, seq, now in ms, ms}:
--   'entry'  it has been stored meanwhile
--   'lead'   the caller asks the origin
--   'wait'   somebody else does, and publishes on {ns}:wake when done: how long that lease lasts yet, ms
--   'alone'  ask at once, and share with nobody

redis.call('DEL', prefix .. 'scratch') -- refused by a primary that has been demoted
local c = control(ARGV[1])
local now = now_ms()
local value = redis.pcall('GET', KEYS[2])
local header = type(value) == 'string' and parse_header(value)
if header and string.sub(value, 1, 32) ~= ARGV[5] and alive(c, header, redis.pcall('ZCARD', bans_key) ~= 0) then
  return { 'entry', c.inc, c.seq, now, 0 }
end

local lease = redis.pcall('HMGET', KEYS[3], 'alone', 'inc', 'seq', 'waited') -- an error has no [1]
if lease[1] then return { 'alone', c.inc, c.seq, now, 0 } end
if lease[2] == c.inc then
  local seq = tonumber(lease[3])
  local names = { set = {}, names = {} }
  for name in string.gmatch(ARGV[4], '[^\n]+') do
    names.set[name] = true
    table.insert(names.names, name)
  end
  -- A fill that a purge has overtaken brings what is old: nobody who comes after the purge may wait for it.
  if seq >= c.epoch and seq >= c.floor and not overtaken(log_key, names, seq) then
    redis.call('HSET', KEYS[3], 'waited', 1)
    -- A clock that was set back makes leases longer than they were granted for.
    local left = redis.call('PTTL', KEYS[3])
    if left > tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[3], ARGV[3]) end
    return { 'wait', c.inc, c.seq, now, math.min(left, tonumber(ARGV[3])) }
  end
end

redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[3], 'token', ARGV[2], 'inc', c.inc, 'seq', c.seq)
-- Whoever waited for the fill that was overtaken asks again: where purges come faster than responses, he waits no longer.
if lease[4] then redis.call('PUBLISH', prefix .. 'wake', ARGV[6]) end
redis.call('PEXPIRE', KEYS[3], ARGV[3])
return { 'lead', c.inc, c.seq, now, 0 }
