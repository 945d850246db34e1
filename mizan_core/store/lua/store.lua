-- Stores one entry, unless a purge has overtaken its fill.
--
-- KEYS  1 {ns}:ctl  hash
--       2 {ns}:e:KEY  string, the entry
--       3 {ns}:v:KEY  zset, only for one of several variants: those of its resource
-- ARGV  1 a fresh random id, used if a new incarnation begins
--       2 KEY
--       3 the entry's bytes; the fence token and the index names stand in its header
--       4 its retention in ms
--       5 when its fill began, ms of Redis' clock
--       6 the seal of what must still lie there, '' for whatever does
--       7 '1' where it must last at least as long as what lies there
--       8 the token of the fill lease that is over once this is stored, or ''
--       9 the KEY of that lease
--       10.. triples: a context that it is indexed under, that context's shape, and its digest, '' where the caller has
--         none; and last, for a variant: how many of them may be there
-- Returns 'stored' (for a variant {'stored', KEY, ...}, with those that had to make room), or why not: 'incarnation' (the fence is of another one, or of the future), 'trimmed' (too old to be
-- judged), 'overtaken' (by a matching purge), 'changed' (something else lies there), 'held' (begun while a matching hold lasts), 'shape' (somebody indexes the context otherwise, or
-- another edge's manifest says something else of it), 'unadopted' (nobody has said how it is indexed), 'malformed'.

local limit = KEYS[3] and tonumber(table.remove(ARGV))
local c = control(ARGV[1])
local key, value, retention = ARGV[2], ARGV[3], tonumber(ARGV[4])
local header = parse_header(value)
if not header then return 'malformed' end
if header.inc ~= c.inc or header.seq > c.seq then return 'incarnation' end
if header.seq < c.epoch then return 'overtaken' end
if header.seq < c.floor then return 'trimmed' end
if overtaken(log_key, header, header.seq) then return 'overtaken' end
if ARGV[6] ~= '' and redis.pcall('GETRANGE', KEYS[2], 0, 31) ~= ARGV[6] then return 'changed' end
-- The same question about holds: is there a matching one that ends later than the fill began?
if overtaken(holds_key, header, tonumber(ARGV[5])) then return 'held' end

for i = 10, #ARGV, 3 do
  local shape = redis.call('HGET', prefix .. 'shapes', ARGV[i])
  local digest = ARGV[i + 2] == '' and '' or redis.call('HGET', prefix .. 'digests', ARGV[i])
  if not (shape and digest) then return 'unadopted' end
  if shape ~= ARGV[i + 1] or digest ~= ARGV[i + 2] then return 'shape' end
end
-- The first write, and one that a full memory refuses: then nothing has been done.
for i = 10, #ARGV, 3 do
  redis.call('SADD', prefix .. 'contexts', ARGV[i])
end

if ARGV[7] == '1' then retention = math.max(retention, redis.call('PTTL', KEYS[2])) end
local old = read_header(KEYS[2])
if old then remove(key, old) end
-- Indexed first: an entry that no purge could find must never exist.
local now = now_ms()
for _, name in ipairs(header.names) do
  local index = prefix .. 'i:' .. name
  trim(index, now, TRIM_IN_PASSING)
  if type(redis.pcall('ZADD', index, now + retention, key)) ~= 'number' then
    -- Another hand has put something else there, so what was indexed by it can no longer be purged by it.
    redis.call('UNLINK', index)
    begin(ARGV[1], c.seq)
    return 'incarnation'
  end
end
redis.call('SET', KEYS[2], value, 'PXAT', now + retention) -- the very instant of its scores
if ARGV[8] ~= '' then end_lease(prefix .. 'f:' .. ARGV[9], ARGV[8], ARGV[9]) end
if not limit then return 'stored' end

-- In this same step, so that no variant is ever uncounted.
if not has_type(KEYS[3], 'zset') then redis.call('UNLINK', KEYS[3]) end -- another hand has put it there
-- Behind all others even where the clock was set back, or what has just been stored would go first.
local last = tonumber(redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2]) or 0
redis.call('ZADD', KEYS[3], math.max(now, last + 1), key)
-- As long as the longest of them, so that none outlives its place here.
if redis.call('PTTL', KEYS[3]) < retention then redis.call('PEXPIREAT', KEYS[3], now + retention) end
local excess = redis.call('ZCARD', KEYS[3]) - limit
if excess <= 0 then return { 'stored' } end
local gone = redis.call('ZRANGE', KEYS[3], 0, excess - 1)
for _, oldest in ipairs(gone) do
  remove(oldest, read_header(prefix .. 'e:' .. oldest) or { names = {} })
end
redis.call('ZREM', KEYS[3], unpack(gone))
return { 'stored', unpack(gone) }
