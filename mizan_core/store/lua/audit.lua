-- Reads the audit, newest first.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 a fresh random id, used if a new incarnation begins
--       2 the id of the record before which to begin, '' for the newest
--       3 how many
-- Returns {{id, {field, value, ...}, ms, ...}, ...}: each with the times after which it was acknowledged, by whoever
-- told of one.

control(ARGV[1])
local from = ARGV[2] == '' and '+' or '(' .. ARGV[2]
local records = redis.pcall('XREVRANGE', prefix .. 'audit', from, '-', 'COUNT', ARGV[3])
if records.err then return {} end -- another hand has put something else there
for _, record in ipairs(records) do
  local inc, seq = record[2][2], record[2][4]
  local acks = redis.pcall('ZRANGEBYSCORE', prefix .. 'acked', seq, seq)
  for _, ack in ipairs(acks) do
    local start, ms = inc .. ' ' .. seq .. ' ', string.match(ack, ' (%d+)$')
    if ms and ack == start .. ms then record[#record + 1] = ms end
  end
end
return records
