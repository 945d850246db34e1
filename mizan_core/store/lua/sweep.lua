-- Deletes a slice of what a ban has made dead, and lifts the ban behind the last slice.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 a fresh random id, used if a new incarnation begins
--       2 the scope
--       3 the seq that the ban had when the sweep began
--       4 the cursor: '0' at first, then what the last slice returned
--       5 how many members to visit, about
--       6 the index that the sweep walks: '' at first, then what the last slice returned
-- Returns {next cursor, entries deleted, index}; the cursor is '0' when the sweep is done.

local c = control(ARGV[1])
local scope, seq, cursor, index = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[6]
-- A cursor belongs to one index, so the smallest is chosen once.
if index == '' then
  local least
  for _, name in ipairs(scope_names(scope)) do
    local size = redis.pcall('ZCARD', prefix .. 'i:' .. name)
    if type(size) ~= 'number' then size = -1 end
    if not least or size < least then index, least = prefix .. 'i:' .. name, size end
  end
end

local page = redis.pcall('ZSCAN', index, cursor, 'COUNT', ARGV[5])
if page.err then
  -- Another hand has put something else there: what the ban made dead cannot be found, so all must be dead.
  redis.call('UNLINK', index)
  begin(ARGV[1], c.seq)
  return { '0', 0, index }
end
local deleted = 0
for i = 1, #page[2], 2 do
  local key = page[2][i]
  local header = read_header(prefix .. 'e:' .. key)
  if not header then
    redis.call('UNLINK', prefix .. 'e:' .. key)
    redis.call('ZREM', index, key)
  elseif header.inc ~= c.inc or (header.seq < seq and matches(scope, header.set)) then
    -- Judged again here: what was stored since the ban must stay.
    remove(key, header)
    deleted = deleted + 1
  end
end
if page[1] == '0' and redis.call('ZSCORE', bans_key, scope) == ARGV[3] then
  redis.call('ZREM', bans_key, scope)
end
return { page[1], deleted, index }
