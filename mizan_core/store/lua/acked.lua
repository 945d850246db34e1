-- Writes down after how many ms purges were acknowledged by every member, for the audit.
--
-- KEYS  1 {ns}:ctl  hash
-- ARGV  1 how many to keep
--       2.. triples: inc, seq, ms

local acked = prefix .. 'acked'
if not has_type(acked, 'zset') then redis.call('UNLINK', acked) end
for i = 2, #ARGV, 3 do
  redis.call('ZADD', acked, ARGV[i + 1], ARGV[i] .. ' ' .. ARGV[i + 1] .. ' ' .. ARGV[i + 2])
end
redis.call('ZREMRANGEBYRANK', acked, 0, -ARGV[1] - 1)
