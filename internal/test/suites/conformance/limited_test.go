package conformance_test

import "net/http"

// limited sends more requests with one key than the proxy's own limit allows, and then one with another key.
func limited(s *subject) string {
	if len(s.setUp.limited) == 0 {
		return "no"
	}
	return s.beside("with a limit", s.setUp.limited, func(v *subject) string {
		refused := 0
		for range 8 {
			if a := v.ask(v.request("GET", "/api/products", "busy")); a.status == http.StatusTooManyRequests {
				refused++
			}
		}
		if a := v.ask(v.request("GET", "/api/products", "calm")); refused == 0 || !a.passed() {
			return "no"
		}
		return "yes, 429"
	})
}

// limitedForHAProxy counts the requests of each key, once the verifier has named it.
var limitedForHAProxy = [][2]string{{
	"\thttp-request del-header Authorization\n", "\thttp-request del-header Authorization\n" +
		"\tstick-table type string len 64 size 100k expire 1m store http_req_rate(1m)\n" +
		"\thttp-request track-sc0 req.hdr(X-Api-Key-Id)\n" +
		"\thttp-request deny deny_status 429 if { sc_http_req_rate(0) gt 3 }\n",
}}

// limitedForTraefik adds a second middleware behind the guide's.
var limitedForTraefik = [][2]string{
	{"\n---\n", `
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata:
  name: limit
  namespace: warehouse
spec:
  rateLimit:
    average: 3
    period: 1m
    burst: 3
    sourceCriterion:
      requestHeaderName: X-Api-Key-Id
---
`},
	{"    - name: apikey    # the first of all\n", "    - name: apikey    # the first of all\n    - name: limit\n"},
}

// limitedForEnvoy adds a filter behind ext_authz, with a bucket for each key.
var limitedForEnvoy = [][2]string{{"          - name: envoy.filters.http.router\n", `
          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: keys
              filter_enabled: {default_value: {numerator: 100}}
              filter_enforced: {default_value: {numerator: 100}}
              token_bucket: {max_tokens: 1000000, tokens_per_fill: 1000000, fill_interval: 60s}
              descriptors:
              - entries: [{key: key}]
                token_bucket: {max_tokens: 3, tokens_per_fill: 3, fill_interval: 60s}
              rate_limits:
              - actions: [{request_headers: {header_name: x-api-key-id, descriptor_key: key}}]
          - name: envoy.filters.http.router
`}}
