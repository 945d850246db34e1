-- Finds entries that scopes match, as purge.lua would, and leaves them where they are.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 a fresh random id, used if a new incarnation begins
--       2 how many to find
--       3 how many to visit
--       4.. the scopes, '' is everything
-- Returns their KEYs; fewer than there are, where more would have to be visited.

local c = control(ARGV[1])
local wanted, budget = tonumber(ARGV[2]), tonumber(ARGV[3])
local any_bans = redis.pcall('ZCARD', bans_key) ~= 0
local found, seen = {}, {}

local function visit(scope, index)
  local keys = redis.pcall('ZRANGE', index, 0, budget - 1)
  if keys.err then return end -- another hand has put something else there
  for _, key in ipairs(keys) do
    budget = budget - 1
    local header = not seen[key] and read_header(prefix .. 'e:' .. key)
    if header and matches(scope, header.set) and alive(c, header, any_bans) then
      seen[key] = true
      found[#found + 1] = key
      if #found == wanted then return end
    end
  end
end

local function smallest(scope)
  local best, least
  for _, name in ipairs(scope_names(scope)) do
    local size = redis.pcall('ZCARD', prefix .. 'i:' .. name)
    if type(size) == 'number' and (not least or size < least) then best, least = prefix .. 'i:' .. name, size end
  end
  return best
end

for i = 4, #ARGV do
  local indexes = {}
  if ARGV[i] == '' then
    for _, context in ipairs(redis.call('SMEMBERS', prefix .. 'contexts')) do
      indexes[#indexes + 1] = prefix .. 'i:' .. context
    end
  else
    indexes[1] = smallest(ARGV[i])
  end
  for _, index in ipairs(indexes) do
    if #found < wanted and budget > 0 then visit(ARGV[i], index) end
  end
end
return found
