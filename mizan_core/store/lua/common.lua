-- Put in front of every script of this folder. What the scripts share: the control record, entry headers, matching.
--
-- All keys of a namespace carry one hash tag, so each script is atomic and may touch keys that it finds out about
-- (entries through indexes, indexes through an entry's header) on Redis Cluster as well.
--
--   {ns}:ctl       hash    inc: this incarnation's random id; run: the run_id of the server that it began on;
--                          born: when, ms; seq: the last purge; epoch: entries fenced before it are dead;
--                          floor: the highest seq that was trimmed from the log
--   {ns}:e:KEY     string  one entry: 32 bytes of seal, 2 of header length, header, payload; with a TTL
--   {ns}:f:KEY     hash    fill lease: who fetches that entry, since when, and whether anybody waits; with a TTL
--   {ns}:v:KEY     zset    variants of the resource whose own entry is KEY: KEY of the variant -> when it was stored, ms,
--                          or a little later; with a TTL
--   {ns}:i:NAME    zset    index: entry key -> end of its retention, ms. NAME is `context` or `context;param=value`
--   {ns}:log       zset    scope -> seq of its last purge
--   {ns}:bans      zset    scope -> seq: purged without visiting the entries, which reads must check and sweeps delete
--   {ns}:holds     zset    scope -> until when matching fills that have begun are not stored, ms
--   {ns}:contexts  set     names of contexts that have entries
--   {ns}:shapes    hash    context -> digest of how its entries are indexed
--   {ns}:digests   hash    context -> digest of all that the manifest of edges says of it; 'gone': it has it no more
--   {ns}:switched  hash    `context off edge`, `context seen edge` -> number; `context shadow` -> version and share: see
--                          `mizan_edge/rules/switches.py`
--   {ns}:switches  hash    context -> JSON: the same, as edges of an earlier version have said it
--   {ns}:edges     zset    durable id of an edge -> end of its lease, ms
--   {ns}:members   zset    session of an edge -> end of its lease, ms: who must hear of purges
--   {ns}:audit     stream  the latest purges: inc, seq, by (JSON: who asked), entries, banned, scopes (the first of them, an
--                          empty line between two), count (of all)
--   {ns}:acked     zset    `inc seq ms` -> seq: after how many ms every member had acknowledged a purge
--   {ns}:wake      channel KEY of a fill that has ended, where somebody waits for it
--   {ns}:purges    channel `inc seq purger`, and each purged scope behind an empty line; purger is '' if nobody waits
--   {ns}:scratch   never there: a script that begins with its DEL goes on in a full memory, and fails on a replica, and on
--                  both nodes between which the slot is moving
--
-- Nothing but entries, lists of variants and fill leases has a TTL. Every script compares the server's run_id with
-- `run`, by control(), except those that touch nothing but a lease which the caller holds (sign_off, end_fill,
-- renew_fill), the audit (acked), and those for operators that no entry depends on (switch, sizes).
--
-- 1. A slot moves to another node of a cluster, key by key: the members are there already, the control record is not.
-- 2. A purge runs here, finds nobody to wait for, and is answered. 3. A member serves from memory what it purged. Or: the
-- log is there already, and what a purge has overtaken is stored here. -- While a slot moves, a node refuses commands on
-- keys that it has not got, in scripts too. So a script that begins with that DEL has done nothing when it fails, and one
-- that goes on without the log fails as well. When all have moved, run_id is another one.
--
-- A scope in an argument is its context and its parameters' texts, sorted, each on a line of its own; '' is everything.
-- An entry's header is `inc seq` and then the names of its indexes, each on a line of its own, sorted. (inc, seq) is
-- the fence token that its fill read before it asked the origin.

local MAX_SUBSETS = 64 -- up to here looking scopes up one by one is cheaper than scanning
local HEADER_GUESS = 1024
local AUDITED = 10000 -- purges that the audit keeps, and a hundred or so more
local AUDIT_BYTES = 1024 -- of scopes, in one record that has more than one
local TRIM_IN_PASSING = 20 -- expired entries that a script drops from an index which it passes by

local ctl = KEYS[1]
local prefix = string.sub(ctl, 1, -4)
local log_key, bans_key, holds_key = prefix .. 'log', prefix .. 'bans', prefix .. 'holds'
local edges_key, members_key = prefix .. 'edges', prefix .. 'members'

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- A new incarnation: whatever was stored or begun before is dead. It costs the whole cache, and forgets nothing. Who
-- was a member before may serve from memory until its lease ends, so purges wait until `born` is that long ago.
local function begin(nonce, seq)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  -- Begins with DEL: when memory is full, a script whose first write is one may go on to write.
  redis.call('DEL', ctl)
  redis.call('UNLINK', log_key, bans_key, members_key, prefix .. 'shapes', prefix .. 'digests')
  local born = now_ms()
  redis.call('HSET', ctl, 'inc', nonce, 'run', run, 'seq', seq, 'epoch', 0, 'floor', 0, 'born', born)
  return { inc = nonce, seq = seq, epoch = 0, floor = 0, born = born }
end

-- The control record, begun anew where Redis has lost it or was restarted: a Redis that comes back with old data has
-- forgotten purges.
local function control(nonce)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local c = redis.pcall('HMGET', ctl, 'inc', 'run', 'seq', 'epoch', 'floor', 'born')
  local seq, epoch, floor, born = tonumber(c[3]), tonumber(c[4]), tonumber(c[5]), tonumber(c[6])
  if not (c[1] and seq and epoch and floor and born) or c[2] ~= run then return begin(nonce, seq or 0) end
  return { inc = c[1], seq = seq, epoch = epoch, floor = floor, born = born }
end

-- Whether a key is what it must be, or not there.
local function has_type(key, wanted)
  local found = redis.call('TYPE', key).ok
  return found == wanted or found == 'none'
end

-- What this namespace keeps for good, beside indexes.
local TYPES = {
  log = 'zset', bans = 'zset', holds = 'zset', shapes = 'hash', digests = 'hash', contexts = 'set', edges = 'zset',
  members = 'zset',
}

-- The control record `c`, begun anew where another hand has put something else under a name that purges write to. What
-- stood there is lost; to fail instead would keep every later purge from being done.
local function mend(c, nonce)
  local whole = true
  for name, wanted in pairs(TYPES) do
    if not has_type(prefix .. name, wanted) then
      redis.call('UNLINK', prefix .. name)
      whole = false
    end
  end
  return whole and c or begin(nonce, c.seq)
end

-- The header of an entry's first bytes, as {inc, seq, names, set}; nil where it does not read as one.
local function parse_header(bytes)
  if #bytes < 34 then return nil end
  local size = string.byte(bytes, 33) * 256 + string.byte(bytes, 34)
  if #bytes < 34 + size then return nil, 34 + size end
  local header = string.sub(bytes, 35, 34 + size)
  local inc, seq, rest = string.match(header, '^(%S+) (%d+)\n(.*)$')
  if not inc then return nil end
  local names, set = {}, {}
  for name in string.gmatch(rest, '[^\n]+') do
    names[#names + 1] = name
    set[name] = true
  end
  return { inc = inc, seq = tonumber(seq), names = names, set = set }
end

-- The header of a stored entry; nil where there is none, or where it is not one of ours.
local function read_header(entry_key)
  local bytes = redis.pcall('GETRANGE', entry_key, 0, HEADER_GUESS - 1)
  if type(bytes) ~= 'string' then return nil end
  local header, size = parse_header(bytes)
  if size and size > HEADER_GUESS then
    header = parse_header(redis.call('GETRANGE', entry_key, 0, size - 1))
  end
  return header
end

-- The names of the indexes whose intersection holds what a scope purges.
local function scope_names(scope)
  local context, names = nil, {}
  for part in string.gmatch(scope, '[^\n]+') do
    if not context then context = part else names[#names + 1] = context .. part end
  end
  if #names == 0 then names[1] = context end
  return names
end

local function matches(scope, set)
  if scope == '' then return true end
  for _, name in ipairs(scope_names(scope)) do
    if not set[name] then return false end
  end
  return true
end

-- Every scope that matches an entry with these index names, or nil where they are too many.
local function matching_scopes(names)
  local terms, count = {}, 1
  for _, name in ipairs(names) do
    local context, term = string.match(name, '^([^;]+)(.*)$')
    terms[context] = terms[context] or {}
    if term ~= '' then table.insert(terms[context], term) end
  end
  local scopes = { '' }
  for context, list in pairs(terms) do
    count = count + 2 ^ #list
    if count > MAX_SUBSETS then return nil end
    local subsets = { context }
    for _, term in ipairs(list) do
      for i = 1, #subsets do subsets[#subsets + 1] = subsets[i] .. '\n' .. term end
    end
    for _, subset in ipairs(subsets) do scopes[#scopes + 1] = subset end
  end
  return scopes
end

-- Whether a scope in the zset `purges` that matches an entry with these names has a later seq than `seq`.
local function overtaken(purges, header, seq)
  local later = redis.call('ZCOUNT', purges, '(' .. seq, '+inf')
  if later == 0 then return false end
  local scopes = later > MAX_SUBSETS and matching_scopes(header.names)
  if scopes then
    for _, score in ipairs(redis.call('ZMSCORE', purges, unpack(scopes))) do
      if score and tonumber(score) > seq then return true end
    end
    return false
  end
  for _, scope in ipairs(redis.call('ZRANGEBYSCORE', purges, '(' .. seq, '+inf')) do
    if matches(scope, header.set) then return true end
  end
  return false
end

-- Whether readers get the entry with this header. `banned`: whether there are any bans.
local function alive(c, header, banned)
  if header.inc ~= c.inc or header.seq < c.epoch then return false end
  return not (banned and overtaken(bans_key, header, header.seq))
end

-- Unlinks an entry first and takes it out of its indexes afterwards: cut off in between, it must be gone, not lost.
local function remove(key, header)
  redis.call('UNLINK', prefix .. 'e:' .. key)
  for _, name in ipairs(header.names) do
    redis.pcall('ZREM', prefix .. 'i:' .. name, key) -- somebody may have put another type there
  end
end

-- Ends the fill lease that the holder of a token has on `key`, and wakes who waits for that fill, once this script is
-- over. Whether it was the holder's.
local function end_lease(lease_key, token, key)
  local lease = redis.pcall('HMGET', lease_key, 'token', 'waited') -- an error has no [1]
  if lease[1] ~= token then return false end
  redis.call('DEL', lease_key)
  if lease[2] then redis.call('PUBLISH', prefix .. 'wake', key) end
  return true
end

-- Drops at most `limit` entries whose retention has ended from an index; returns how many. Unlinks them too: Redis
-- deletes what has expired when it gets to it, and a clock set back would revive an entry that no purge can find.
local function trim(index, now, limit)
  local gone = redis.pcall('ZRANGEBYSCORE', index, '-inf', '(' .. now, 'LIMIT', 0, limit)
  if #gone == 0 then return 0 end
  local entries = {}
  for i, key in ipairs(gone) do entries[i] = prefix .. 'e:' .. key end
  redis.call('UNLINK', unpack(entries))
  redis.call('ZREM', index, unpack(gone))
  return #gone
end

-- Writes down that `scope` was purged at `seq`; with `ban`, that its entries are still there.
local function record(scope, seq, ban)
  redis.call('ZADD', log_key, seq, scope)
  if ban then redis.call('ZADD', bans_key, seq, scope) end
end

-- Tells the members what was purged. One message for each raise of seq, so a number that is missing is a lost message.
local function announce(inc, seq, purger, scopes)
  local parts = { inc .. ' ' .. seq .. ' ' .. purger }
  for i, scope in ipairs(scopes) do parts[i + 1] = scope end
  redis.call('PUBLISH', prefix .. 'purges', table.concat(parts, '\n\n'))
end

-- Writes down for people who purged what. Whatever comes of it, the purge is done.
local function audit(inc, seq, by, entries, banned, scopes)
  local key, shown, size = prefix .. 'audit', {}, 0
  for i, scope in ipairs(scopes) do
    size = size + #scope
    if i > 1 and size > AUDIT_BYTES then break end
    shown[i] = scope -- whole: cut off, it would be another one
  end
  if not has_type(key, 'stream') then redis.call('UNLINK', key) end
  redis.pcall('XADD', key, 'MAXLEN', '~', AUDITED, '*', 'inc', inc, 'seq', seq, 'by', by, 'entries', entries,
    'banned', banned, 'scopes', table.concat(shown, '\n\n'), 'count', #scopes)
end

-- Keeps the log to `cap` scopes. A fill whose fence is older than what was trimmed cannot be judged, and is refused.
local function trim_log(cap)
  local excess = redis.call('ZCARD', log_key) - cap
  if excess <= 0 then return end
  excess = math.min(excess + math.floor(cap / 10), 1000)
  local last = redis.call('ZRANGE', log_key, excess - 1, excess - 1, 'WITHSCORES')
  redis.call('HSET', ctl, 'floor', last[2])
  redis.call('ZREMRANGEBYSCORE', log_key, '-inf', last[2])
end
