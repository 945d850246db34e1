-- Sends prepared requests in turn, and prints what came of it as one line of JSON.
--
-- BENCH_REQUESTS  a file: for each request a line with its length, and its bytes
-- BENCH_FIRST     if set, each request's `@NEW@` becomes a number that counts up from this one

local requests, count, at = {}, 0, 0
local number = tonumber(os.getenv("BENCH_FIRST") or "")

function init()
  local file = assert(io.open(os.getenv("BENCH_REQUESTS"), "rb"))
  for length in file:lines() do
    count = count + 1
    requests[count] = file:read(tonumber(length))
  end
  file:close()
  if number then
    for k, request in ipairs(requests) do
      local before, after = request:match("^(.-)@NEW@(.*)$")
      requests[k] = { before, after }
    end
  end
  prepared_s = os.clock()
end

function request()
  at = at % count + 1
  if not number then
    return requests[at]
  end
  number = number + 1
  return requests[at][1] .. number .. requests[at][2]
end

local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "p999_ms": %.3f, "cpu_s": %.6f, "errors": %d}',
    summary.requests,
    summary.duration / 1e6,
    latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3,
    latency:percentile(99.9) / 1e3,
    os.clock() - threads[1]:get("prepared_s"),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
