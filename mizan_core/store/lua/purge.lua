-- Purges scopes, or everything. What is purged is gone for every reader when the script returns; a scope with more
-- entries than may be visited in one script is banned, which costs the same for ten entries and ten million.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 a fresh random id, used if a new incarnation begins
--       2 'purge', or 'dry' to count only
--       3 how many entries the script may visit
--       4 how many scopes the log keeps
--       5 for how long matching fills that begin are not stored, ms
--       6 who waits for acknowledgements, which go to {ns}:acks:PURGER; '' for nobody
--       7 how long a lease lasts, ms; 0 where no other member can exist
--       8 who asks for it, as JSON, for the audit; '' leaves it out of that
--       9.. pairs: a scope, '' is everything; the shape of its context in the caller's manifest, '' if unknown. Where the
--         store knows the context under another shape, its entries are indexed otherwise: all of it is purged.
-- Returns {seq, entries, scopes that were banned, inc, wait, the scopes as they were widened with an empty line between
-- them, session, remaining, ...}. For a banned scope `entries` counts its smallest index. Every session may serve from memory what was purged until it has acknowledged, or for the ms that
-- remain of its lease; members of an earlier incarnation, who are not known any more, for the ms of `wait`.

-- A full memory refuses a script whose first write may allocate, but not one that has begun with a DEL.
redis.call('DEL', prefix .. 'scratch')
local c = control(ARGV[1])
local dry, budget, cap, hold = ARGV[2] == 'dry', tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if not dry then c = mend(c, ARGV[1]) end
local now = now_ms()
local purger, lease, purged = ARGV[6], tonumber(ARGV[7]), {}
local seq, entries, banned, counted = c.seq, 0, 0, {}
local any_bans = redis.pcall('ZCARD', bans_key) ~= 0
if not dry then seq = redis.call('HINCRBY', ctl, 'seq', 1) end

-- The index of a scope with the fewest members, and their number.
local function smallest(scope)
  local best, least
  for _, name in ipairs(scope_names(scope)) do
    local index = prefix .. 'i:' .. name
    if not dry then trim(index, now, TRIM_IN_PASSING) end
    local size = redis.pcall('ZCARD', index)
    if type(size) ~= 'number' then
      -- Another hand has put something else there, so what was indexed by it can no longer be found.
      size = 0
      if not dry then
        redis.call('UNLINK', index)
        c = begin(ARGV[1], seq)
      end
    end
    if not least or size < least then best, least = index, size end
  end
  return best, least
end

local function ban(scope, index)
  banned = banned + 1
  local size = redis.pcall('ZCOUNT', index, now, '+inf')
  entries = entries + (type(size) == 'number' and size or 0)
  if not dry then
    record(scope, seq, true)
    any_bans = true
  end
end

local function visit(scope, index)
  for _, key in ipairs(redis.pcall('ZRANGE', index, 0, -1)) do
    budget = budget - 1
    local header = read_header(prefix .. 'e:' .. key)
    if not header then
      if not dry then
        -- Expired, evicted, or altered by another hand; in no case worth keeping.
        redis.call('UNLINK', prefix .. 'e:' .. key)
        redis.call('ZREM', index, key)
      end
    elseif matches(scope, header.set) then
      if not counted[key] and alive(c, header, any_bans) then entries = entries + 1 end
      counted[key] = true
      if not dry then remove(key, header) end
    end
  end
  if not dry then record(scope, seq, false) end
end

for i = 9, #ARGV, 2 do
  local scope = ARGV[i]
  if ARGV[i + 1] ~= '' then
    local context = string.match(scope, '^[^\n]+')
    local shape = redis.pcall('HGET', prefix .. 'shapes', context)
    if type(shape) == 'string' and shape ~= ARGV[i + 1] then scope = context end
  end
  purged[#purged + 1] = scope
  if hold > 0 and not dry then redis.call('ZADD', holds_key, 'GT', now + hold, scope) end
  if scope == '' then
    for _, context in ipairs(redis.pcall('SMEMBERS', prefix .. 'contexts')) do
      ban(context, prefix .. 'i:' .. context)
    end
    if not dry then
      redis.call('HSET', ctl, 'epoch', seq)
      record('', seq, false)
    end
  else
    local index, size = smallest(scope)
    if size <= budget then visit(scope, index) else ban(scope, index) end
  end
end
if not dry then
  trim_log(cap)
  redis.call('ZREMRANGEBYSCORE', holds_key, '-inf', now)
  if ARGV[8] ~= '' then audit(c.inc, seq, ARGV[8], entries, banned, purged) end
end
local reply = { seq, entries, banned, c.inc, 0, table.concat(purged, '\n\n') }
if dry then return reply end
if lease > 0 then
  -- A clock that was set back must not make anything last longer than a lease.
  reply[5] = math.max(0, math.min(lease, c.born + lease - now))
  redis.call('ZREMRANGEBYSCORE', members_key, '-inf', now)
  local members = redis.call('ZRANGE', members_key, 0, -1, 'WITHSCORES')
  for i = 1, #members, 2 do
    local left = members[i + 1] - now
    if left > lease then
      left = lease
      redis.call('ZADD', members_key, now + left, members[i])
    end
    reply[#reply + 1] = members[i]
    reply[#reply + 1] = left
  end
end
announce(c.inc, seq, purger, purged)
return reply
