-- Asks the verifier about a request, as haproxy-auth-request and haproxy-ingress do, with HAProxy's own HTTP client
-- (HAProxy 2.5 or later, built with Lua).
--
--     http-request lua.apikey BACKEND PATH
--
-- BACKEND names the verifier's backend, PATH is the URL of its surface. 200 lets the request pass, with the verifier's
-- identity headers in place of the client's own. Any other answer is the client's, and without an answer it is 500.

local identity = { "x-api-key-id", "x-api-key-name", "x-api-key-scopes", "x-api-key-tenant" }

-- The headers that the verifier reads. The client's own of the same names were replaced before this is called.
local asked = { "authorization", "x-tenant-id", "x-forwarded-for", "x-forwarded-method", "x-forwarded-host", "x-forwarded-uri" }

-- What of a refusal the client gets to see.
local told = { "www-authenticate", "content-type", "cache-control" }

local timeout = 650 -- milliseconds, of an attempt: HAProxy makes four

-- address returns the address of a server that is up, or nil.
local function address(backend)
	for _, server in pairs(core.backends[backend].servers) do
		local status = server:get_stats()["status"]
		if status == "no check" or status:find("UP", 1, true) == 1 then
			return server:get_addr()
		end
	end
	return nil
end

-- lines returns the values of a header, one for each line of it, or nil.
local function lines(headers, name)
	if headers[name] == nil then
		return nil
	end
	local all, i = {}, 0
	while headers[name][i] ~= nil do
		all[#all + 1] = headers[name][i]
		i = i + 1
	end
	return all
end

local function refuse(txn, response)
	local reply = txn:reply()
	reply:set_status(500)
	if response ~= nil and response.status ~= nil and response.status >= 400 then
		reply:set_status(response.status)
		for _, name in ipairs(told) do
			for _, value in pairs(response.headers[name] or {}) do
				reply:add_header(name, value)
			end
		end
		reply:set_body(response.body or "")
	end
	txn:done(reply)
end

core.register_action("apikey", { "http-req" }, function(txn, backend, path)
	local server = address(backend)
	if server == nil then
		return refuse(txn, nil)
	end
	local request = txn.http:req_get_headers()
	local headers = {}
	for _, name in ipairs(asked) do
		headers[name] = lines(request, name)
	end
	local response = core.httpclient():get { url = "http://" .. server .. path, headers = headers, timeout = timeout }
	if response == nil or response.status ~= 200 then
		return refuse(txn, response)
	end
	for _, name in ipairs(identity) do
		local values = response.headers[name]
		if values == nil or values[0] == nil then
			return refuse(txn, nil)
		end
		txn.http:req_set_header(name, values[0])
	end
end, 2)
