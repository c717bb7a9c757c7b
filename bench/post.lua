-- For wrk: posts the bodies of a file in random order, and prints what came of it as JSON.
-- Arguments: the file, with a body on each line; a seed; requests a second, 0 for all it takes.
local ffi = require("ffi")
ffi.cdef [[
    typedef struct { long seconds; long nanoseconds; } overc_timespec;
    int clock_gettime(int clock, overc_timespec *now);
]]
local now = ffi.new("overc_timespec")

local function monotonic_ms()
    ffi.C.clock_gettime(1, now)
    return tonumber(now.seconds) * 1000 + tonumber(now.nanoseconds) / 1e6
end

local requests = {}

function init(args)
    math.randomseed(tonumber(args[2]))
    local headers = { ["Content-Type"] = "application/json" }
    for body in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("POST", nil, headers, body)
    end
    local rate = tonumber(args[3])
    if rate > 0 then
        -- All connections take their turns from one plan, so that the rate holds for all of them.
        -- Global, since this is how wrk finds it.
        local next_ms
        function delay()
            local at_ms = monotonic_ms()
            next_ms = math.max(next_ms or at_ms, at_ms - 1000) + 1000 / rate
            return math.max(0, math.floor(next_ms - at_ms + 0.5))
        end
    end
end

function request()
    return requests[math.random(#requests)]
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '{"requests": %d, "duration_s": %.6f, "refused": %d, "broken": %d,'
            .. ' "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f}\n',
        summary.requests - errors.status, summary.duration / 1e6, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
