-- Merges what an edge knows of switched contexts with what is known here. A value has one or two numbers; of two values
-- of one field that counts whose first number is greater, and if these are the same, whose second is.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1.. pairs: a field of {ns}:switched, and its value
-- Returns {how many of these were news, {field, value, ...}, {context, JSON, ...}}, with all that is known now; the last
-- is what edges of an earlier version have said.

redis.call('DEL', prefix .. 'scratch') -- a full memory lets a script go on that begins so; a replica does not
local switched_key, earlier_key = prefix .. 'switched', prefix .. 'switches'
if not has_type(switched_key, 'hash') then redis.call('UNLINK', switched_key) end

-- The numbers of a value; nil for what is none.
local function read(value)
  local first, rest = string.match(value, '^(%d+)(.*)$')
  if not first or #first > 15 then return nil end
  if rest == '' then return tonumber(first), -1 end
  local second = tonumber(string.match(rest, '^ (%d[%d.e-]*)$'))
  if second then return tonumber(first), second end
end

local function is_later(new, known)
  local first, second = read(known)
  if not first then return true end
  local new_first, new_second = read(new)
  if new_first ~= first then return new_first > first end
  return new_second > second
end

local news = 0
for i = 1, #ARGV, 2 do
  local known = redis.call('HGET', switched_key, ARGV[i])
  if not known or is_later(ARGV[i + 1], known) then
    redis.call('HSET', switched_key, ARGV[i], ARGV[i + 1])
    news = news + 1
  end
end
local earlier = has_type(earlier_key, 'hash') and redis.call('HGETALL', earlier_key) or {}
return { news, redis.call('HGETALL', switched_key), earlier }
