-- Reads entries, and the fence token of the fills that a miss begins.
--
-- KEYS  1 {ns}:ctl  hash
--       2.. {ns}:e:KEY  string, the entries
-- ARGV  1 a fresh random id, used if a new incarnation begins
-- Returns {inc, seq, now in ms, value, value, ...}: a value is the entry's bytes, nil for a miss (nothing there, banned,
-- of another incarnation) or 0 where something is there that is not an entry of ours.

redis.call('DEL', prefix .. 'scratch') -- a primary that has been demoted would still answer; this it refuses
local c = control(ARGV[1])
local bans = redis.pcall('ZCARD', bans_key)
if type(bans) ~= 'number' then c, bans = mend(c, ARGV[1]), 0 end
local reply = { c.inc, c.seq, now_ms() }
for i = 2, #KEYS do
  local value = redis.pcall('GET', KEYS[i])
  if value and type(value) ~= 'string' then
    value = 0
  elseif value then
    local header = parse_header(value)
    if not header then
      value = 0
    elseif not alive(c, header, bans > 0) then
      value = false
    end
  end
  reply[i + 2] = value
end
return reply
