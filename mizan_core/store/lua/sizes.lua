-- Counts the entries of contexts, by their indexes: those of which a purge has banned the scope are among them until
-- they are swept.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1.. contexts
-- Returns a number for each.

local now, sizes = now_ms(), {}
for i, context in ipairs(ARGV) do
  local size = redis.pcall('ZCOUNT', prefix .. 'i:' .. context, now, '+inf')
  sizes[i] = type(size) == 'number' and size or 0
end
return sizes
