-- Finds the last purge that matches what stands in certain indexes, as far as the log goes back.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 a fresh random id, used if a new incarnation begins
--       2 how many purges, the latest of them, were looked at before
--       3 how many to look at
--       4.. the names of the indexes
-- Returns {scope, seq}; {looked at} where none was among these and there are more; {} where there is none.

control(ARGV[1])
local names, set = {}, {}
for i = 4, #ARGV do
  names[i - 3] = ARGV[i]
  set[ARGV[i]] = true
end

local scopes = matching_scopes(names)
if scopes then
  local last, scope
  for i, score in ipairs(redis.call('ZMSCORE', log_key, unpack(scopes))) do
    if score and (not last or tonumber(score) > last) then last, scope = tonumber(score), scopes[i] end
  end
  return last and { scope, last } or {}
end

local from, limit = tonumber(ARGV[2]), tonumber(ARGV[3])
local page = redis.call('ZREVRANGE', log_key, from, from + limit - 1, 'WITHSCORES')
for i = 1, #page, 2 do
  if matches(page[i], set) then return { page[i], tonumber(page[i + 1]) } end
end
return #page == 2 * limit and { from + limit } or {}
