-- Judges entries that the caller has read just before, and gives the fence token of the fills that a miss begins.
--
-- The values themselves do not come through here: Lua would copy and hash every byte of them. The caller reads them with
-- an MGET, and this gives the seals of those that are alive at this instant, which tell them from anything else that may
-- have lain there in between.
--
-- KEYS  1 {ns}:ctl  hash
--       2.. {ns}:e:KEY  string, the entries
-- ARGV  1 a fresh random id, used if a new incarnation begins
-- Returns {inc, seq, now in ms, seal, seal, ...}: nil instead of a seal for a miss (nothing there, banned, of another
-- incarnation), 0 where something is there that is not an entry of ours.

local FENCE_END = 79 -- in an entry's bytes, far behind the fence token

redis.call('DEL', prefix .. 'scratch') -- a primary that has been demoted would still answer; this it refuses
local c = control(ARGV[1])
local bans = redis.pcall('ZCARD', bans_key)
if type(bans) ~= 'number' then c, bans = mend(c, ARGV[1]), 0 end
local reply = { c.inc, c.seq, now_ms() }

-- The seal of the entry under a key; false for a miss, 0 for what is not an entry of ours.
local living = c.inc .. ' '
local function judged(key)
  local bytes = redis.pcall('GETRANGE', key, 0, FENCE_END)
  if type(bytes) ~= 'string' then return 0 end
  if bytes == '' and redis.call('EXISTS', key) == 0 then return false end
  local live
  local seq = tonumber(string.match(bytes, '^(%d+)\n', 35 + #living))
  if seq and bans == 0 and string.sub(bytes, 35, 34 + #living) == living then
    live = seq >= c.epoch -- the names need not be read
  else
    local header = read_header(key)
    if not header then return 0 end
    live = alive(c, header, bans > 0)
  end
  return live and string.sub(bytes, 1, 32)
end

for i = 2, #KEYS do reply[i + 2] = judged(KEYS[i]) end
return reply
