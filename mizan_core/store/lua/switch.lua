-- Merges what an edge knows of switched contexts with what is known here: of each context the later switch counts; of
-- two of one version the one that is off, or else the one with the greater number.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1.. pairs: a context; how it is switched, as JSON with `version`, `enabled` and `shadow`
-- Returns {how many of these were news, context, switch, ...}, with all that is known now.

redis.call('DEL', prefix .. 'scratch') -- a full memory lets a script go on that begins so; a replica does not
local switches_key = prefix .. 'switches'
if not has_type(switches_key, 'hash') then redis.call('UNLINK', switches_key) end

-- By what a switch counts, first to last; nil for what is none.
local function read(text)
  local is_json, switch = pcall(cjson.decode, text)
  if not is_json or type(switch) ~= 'table' or type(switch.version) ~= 'number' then return nil end
  return { switch.version, switch.enabled == false and 1 or 0, tonumber(switch.shadow) or -1 }
end

local function is_later(new, known)
  for i, part in ipairs(new) do
    if part ~= known[i] then return part > known[i] end
  end
  return false
end

local news = 0
for i = 1, #ARGV, 2 do
  local known = redis.call('HGET', switches_key, ARGV[i])
  known = known and read(known)
  if not known or is_later(read(ARGV[i + 1]), known) then
    redis.call('HSET', switches_key, ARGV[i], ARGV[i + 1])
    news = news + 1
  end
end
local reply = redis.call('HGETALL', switches_key)
table.insert(reply, 1, news)
return reply
