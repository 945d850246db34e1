-- Drops what has expired from indexes that no purge and no store passes by: they have no TTL, and would keep it for ever.
--
-- The indexes are found by a SCAN that goes on from call to call. It costs the stores nothing, and there is no list of
-- names that could get lost.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 a fresh random id, used if a new incarnation begins
--       2 the cursor: '0' at first, then what the last slice returned
--       3 how many keys of the database to look at, about
-- Returns {next cursor, entries dropped}. The cursor stays where it is as long as something is left there; it is '0'
-- when the whole database has been looked at.

local BUDGET = 500 -- entries that one slice drops
local FROM_ONE = 50

control(ARGV[1])
local pattern = string.gsub(prefix, '[%*%?%[%]\\]', '\\%0') .. 'i:*'
local page = redis.call('SCAN', ARGV[2], 'MATCH', pattern, 'COUNT', ARGV[3])
local now, dropped, left = now_ms(), 0, false
for _, index in ipairs(page[2]) do
  local limit = math.min(FROM_ONE, BUDGET - dropped)
  local gone = limit > 0 and trim(index, now, limit) or 0
  dropped = dropped + gone
  left = left or gone == limit
end
return { left and ARGV[2] or page[1], dropped }
