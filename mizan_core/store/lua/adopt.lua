-- Takes over the shapes of a manifest's contexts. Entries that were indexed in another way could not be purged exactly
-- any more, so a context whose shape has changed is purged as a whole.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 a fresh random id, used if a new incarnation begins
--       2.. pairs: context, shape
-- Returns the contexts that were purged.

redis.call('DEL', prefix .. 'scratch')
local c = mend(control(ARGV[1]), ARGV[1])
local changed = {}
for i = 2, #ARGV, 2 do
  local shape = redis.call('HGET', prefix .. 'shapes', ARGV[i])
  if shape and shape ~= ARGV[i + 1] then changed[#changed + 1] = ARGV[i] end
  redis.call('HSET', prefix .. 'shapes', ARGV[i], ARGV[i + 1])
end
if #changed > 0 then
  local seq = redis.call('HINCRBY', ctl, 'seq', 1)
  for _, context in ipairs(changed) do record(context, seq, true) end
  announce(c.inc, seq, '', changed)
  audit(c.inc, seq, '{"source":"other parameters"}', 0, #changed, changed)
end
return changed
