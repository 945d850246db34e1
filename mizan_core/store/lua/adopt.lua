-- Takes over what a manifest says of its contexts. Entries that were indexed in another way could not be purged exactly
-- any more, so a context whose shape has changed is purged as a whole. So is one of which the manifest says anything else
-- (its digest has changed) if anything of it is stored: that may not be what its responses should be now.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 a fresh random id, used if a new incarnation begins
--       2 '1' where these are all contexts of an edge's manifest: others are gone
--       3.. triples: context, shape, digest; '' leaves the digest as it is
-- Returns the contexts that were purged.
--
-- 1. An edge comes with another manifest, which purges. 2. An edge that still has the old one stores by it. 3. It gets the
-- new manifest, and finds nothing different. -- So the second is refused (store.lua): of two manifests the one that was
-- adopted last stores. Edges adopt theirs when they start, reload, or Redis has begun anew, so none answers another.

redis.call('DEL', prefix .. 'scratch')
local c = mend(control(ARGV[1]), ARGV[1])
local shapes_key, digests_key = prefix .. 'shapes', prefix .. 'digests'
local changed, named = {}, {}

local function has_entries(context)
  return redis.call('EXISTS', prefix .. 'i:' .. context) == 1
end

for i = 3, #ARGV, 3 do
  local context, shape, digest = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local known = redis.call('HGET', shapes_key, context)
  local says_else = digest ~= '' and redis.call('HGET', digests_key, context) ~= digest
  if known and (known ~= shape or (says_else and has_entries(context))) then changed[#changed + 1] = context end
  if known ~= shape then redis.call('HSET', shapes_key, context, shape) end
  if says_else then redis.call('HSET', digests_key, context, digest) end
  named[context] = true
end
if ARGV[2] == '1' then
  for _, context in ipairs(redis.call('HKEYS', digests_key)) do
    if not named[context] then
      if has_entries(context) then changed[#changed + 1] = context end
      redis.call('HSET', digests_key, context, 'gone') -- no digest is that: nobody stores under it
    end
  end
end
if #changed > 0 then
  local seq = redis.call('HINCRBY', ctl, 'seq', 1)
  for _, context in ipairs(changed) do record(context, seq, true) end
  announce(c.inc, seq, '', changed)
  audit(c.inc, seq, '{"source":"other manifest"}', 0, #changed, changed)
end
return changed
