-- Merges what an edge knows of switched contexts with what is known here: of each context the later switch counts, and
-- of two of one version the one that is off.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1.. pairs: a context; how it is switched, as JSON with `version` and `enabled`
-- Returns {how many of these were news, context, switch, ...}, with all that is known now.

redis.call('DEL', prefix .. 'scratch') -- a full memory lets a script go on that begins so; a replica does not
local switches_key = prefix .. 'switches'
if not has_type(switches_key, 'hash') then redis.call('UNLINK', switches_key) end

-- The version of a switch and whether it is off; nil for what is none.
local function read(text)
  local is_json, switch = pcall(cjson.decode, text)
  if not is_json or type(switch) ~= 'table' or type(switch.version) ~= 'number' then return nil end
  return switch.version, switch.enabled == false
end

local news = 0
for i = 1, #ARGV, 2 do
  local version, is_off = read(ARGV[i + 1])
  local known = redis.call('HGET', switches_key, ARGV[i])
  local known_version, known_off = nil, nil
  if known then known_version, known_off = read(known) end
  if not known_version or version > known_version or (version == known_version and is_off and not known_off) then
    redis.call('HSET', switches_key, ARGV[i], ARGV[i + 1])
    news = news + 1
  end
end
local reply = redis.call('HGETALL', switches_key)
table.insert(reply, 1, news)
return reply
