-- What wrk asks, as a proxy does: one of the requests of a file each time, drawn at random. With a third argument, a
-- connection rests between an answer and its next question for that many milliseconds on average. The fourth is the scheme
-- of the credentials.
--
--   wrk … -s load.lua URL -- FILE HOST [REST [SCHEME]]
local requests = {}

local template = "GET %s HTTP/1.1\r\n" ..
	"Host: %s\r\n" ..
	"X-Original-URL: https://%s/api/products?page=2&limit=50\r\n" ..
	"X-Original-Method: GET\r\n" ..
	"X-Forwarded-For: 203.0.113.7\r\n" ..
	"Accept: application/json\r\n" ..
	"Accept-Encoding: gzip, br\r\n" ..
	"User-Agent: acme-warehouse/2.4 (linux; amd64)\r\n" ..
	"X-Request-ID: 5f2b0f9a1c2d4e6f8a9b0c1d2e3f4a5b\r\n" ..
	"X-Tenant-ID: %s\r\n" ..
	"Authorization: %s %s\r\n\r\n"

function init(arguments)
	math.randomseed(4711)
	for line in io.lines(arguments[1]) do
		local tenant, token = line:match("(%S+) (%S+)")
		requests[#requests + 1] = template:format(wrk.path, arguments[2], arguments[2], tenant, arguments[4] or "Bearer", token)
	end
	local rest = tonumber(arguments[3])
	if rest then
		delay = function() return math.random(rest * 0.5, rest * 1.5) end -- wrk asks for it where there is one.
	end
end

function request() return requests[math.random(#requests)] end

function done(summary, latency)
	local failed = summary.errors
	io.write(string.format('{"requests": %d, "refused": %d, "lost": %d, "p50": %.1f, "p99": %.1f}\n', summary.requests,
		failed.status, failed.connect + failed.read + failed.write + failed.timeout, latency:percentile(50), latency:percentile(99)))
end
