package conformance_test

import (
	"fmt"
	"strings"
)

// limits are questions about how large a request may be.
var limits = []row{
	{largestQuestion, func(s *subject) string {
		a := s.ask(s.request("GET", "/api/products", "largest"))
		s.mustPass("the largest identity that may be", a)
		if a.passed() && (len(a.upstream) != 1 || len(a.upstream[0].Values("x-api-key-scopes")) != 1) {
			s.fault("the upstream is not told the largest identity")
		}
		return a.word()
	}},
	{"a limit for each key that the proxy itself keeps", limited},
	{"95 headers", many(95)},
	{"100 headers", many(100)},
	{"a header of 7 KiB", func(s *subject) string {
		return s.ask(s.request("GET", "/api/products", "reader", "Cookie: a="+strings.Repeat("a", 7<<10))).word()
	}},
	{"a header of 12 KiB", func(s *subject) string {
		return s.ask(s.request("GET", "/api/products", "reader", "Cookie: a="+strings.Repeat("a", 12<<10))).word()
	}},
	{"a header of 40 KiB", func(s *subject) string {
		return s.ask(s.request("GET", "/api/products", "reader", "Cookie: a="+strings.Repeat("a", 40<<10))).word()
	}},
	{"a query of 7 KiB", func(s *subject) string {
		return s.ask(s.request("GET", "/api/products?q="+strings.Repeat("a", 7<<10), "reader")).word()
	}},
	{"a body of 2 MiB", func(s *subject) string {
		const size = 2 << 20
		a := s.ask(s.request("POST", "/api/products", "reader", fmt.Sprint("Content-Length: ", size)) +
			strings.Repeat("a", size))
		if a.passed() && (len(a.upstream) != 1 || a.upstream[0].Body != size) {
			s.fault("a body of 2 MiB does not reach the upstream as it is")
		}
		return a.word()
	}},
}

// many returns the question whether a request with n headers passes, Host and the credentials among them.
func many(n int) func(*subject) string {
	return func(s *subject) string {
		var headers []string
		for i := range n - 3 {
			headers = append(headers, fmt.Sprintf("X-Many-%d: 1", i))
		}
		return s.ask(s.request("GET", "/api/products", "reader", headers...)).word()
	}
}
