package conformance_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/nexuscommerce/apikey-operator/internal/override"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// passing are questions about requests that may pass.
var passing = []row{
	{"a key that may", func(s *subject) string {
		a := s.ask(s.request("GET", "/api/products", "reader"))
		s.mustPass("a key that may", a)
		return a.word()
	}},
	{"no key, where a rule is `anonymous`", func(s *subject) string {
		return s.ask(head(append([]string{"GET /public HTTP/1.1", "Host: " + apiHost}, forged...)...)).word()
	}},
	{"HEAD", func(s *subject) string { return s.ask(s.request("HEAD", "/api/products", "reader")).word() }},
	{"HTTP/2", askOverHTTP2},
	{"HTTP/1.0, with `Host`", func(s *subject) string {
		return s.ask(strings.Replace(s.request("GET", "/api/products", "reader"), "HTTP/1.1", "HTTP/1.0", 1)).word()
	}},
}

// askOverHTTP2 asks over HTTP/2, by prior knowledge.
func askOverHTTP2(s *subject) string {
	if s.at.HTTP2 == "" {
		return "no"
	}
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(s.t.Context(), timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.at.HTTP2+"/api/products", http.NoBody)
	if err != nil {
		return err.Error()
	}
	request.Host = apiHost
	for _, line := range s.credentials("reader") {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Set(name, value)
	}
	s.upstream.Take()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "closed"
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	a := answer{status: response.StatusCode, header: response.Header, upstream: s.upstream.Take()}
	for _, r := range a.upstream {
		s.checkUpstream(r)
	}
	return a.word()
}

// forged are identity headers that a client writes itself.
var forged = []string{
	"X-Api-Key-Id: forged", "X-Api-Key-Name: forged", "X-Api-Key-Scopes: *", "X-Api-Key-Tenant: forged",
}

// upstreamHeaders are questions about the headers that reach the upstream. That none of them is forged is checked for
// every request, by subject.checkUpstream.
var upstreamHeaders = []row{
	{"the upstream is told who calls, by all four headers", func(s *subject) string {
		a := s.ask(s.request("GET", "/api/products", "reader"))
		if len(a.upstream) != 1 || !slices.Equal(a.upstream[0].Values("x-api-key-id"), []string{s.keys["reader"].id}) {
			s.fault("the upstream is not told who calls")
			return "no"
		}
		return "yes"
	}},
	{tokenQuestion, func(s *subject) string {
		a := s.ask(s.request("GET", "/api/products", "reader"))
		for _, r := range a.upstream {
			if strings.Contains(r.Head, s.keys["reader"].token) {
				return "yes"
			}
		}
		return "no"
	}},
	{forgedQuestion, func(s *subject) string {
		return s.replaced(s.ask(s.request("GET", "/api/products", "reader", forged...)))
	}},
	{aliasQuestion, func(s *subject) string {
		return s.replaced(s.ask(s.request("GET", "/api/products", "reader", strings.Split(
			strings.NewReplacer("X-Api-Key-", "X_Api_Key_").Replace(strings.Join(forged, "\n")), "\n")...)))
	}},
	{"the same, named in `Connection`", func(s *subject) string {
		return s.replaced(s.ask(s.request("GET", "/api/products", "reader", append(slices.Clone(forged),
			"Connection: X-Api-Key-Id, X-Api-Key-Name, X-Api-Key-Scopes, X-Api-Key-Tenant")...)))
	}},
	{"headers that override method, path, host or scheme", func(s *subject) string {
		var headers []string
		for _, h := range override.Headers {
			headers = append(headers, h.Name+": forged")
		}
		a := s.ask(s.request("GET", "/api/products", "reader", headers...)) // checkUpstream finds what is left.
		if a.passed() {
			return "removed"
		}
		return a.code()
	}},
	{"the address in `X-Forwarded-For` that the API reads", func(s *subject) string {
		a := s.ask(s.request("GET", "/api/products", "reader", "X-Forwarded-For: 203.0.113.7"))
		if len(a.upstream) != 1 {
			return a.code()
		}
		switch values := a.upstream[0].Values("x-forwarded-for"); {
		case slices.Equal(values, []string{clientAddress}):
			return "the client's"
		case len(values) == 0:
			return "none"
		case len(values) == 1 && strings.HasSuffix(values[0], ", "+clientAddress):
			return "behind what the client wrote"
		default:
			return fmt.Sprint(values)
		}
	}},
}

// replaced returns the cell for a request with identity headers of the client's own, none of which may get through.
func (s *subject) replaced(a answer) string {
	if !a.passed() {
		return a.code()
	}
	for _, r := range a.upstream {
		if strings.Contains(r.Head, "forged") {
			s.fault("what a client wrote reaches the upstream: %q", strings.ReplaceAll(r.Head, s.keys["reader"].token, ""))
		}
	}
	return "replaced"
}

// addresses are questions about allowlists.
var addresses = []row{
	{addressQuestion, func(s *subject) string {
		chosen := false
		for _, from := range []string{stranger, balancer, "127.0.0.1"} { // The last is the proxy's own.
			for _, headers := range proxies.Spoofed(clientAddress) {
				if a := s.askFrom(from, s.request("GET", "/api/products", "nearby", headers...)); a.status == http.StatusOK {
					if s.setUp.trusting && from != stranger {
						chosen = true
						continue
					}
					s.fault("a client at %s that sends %q passes an allowlist without that address", from, headers)
				}
			}
		}
		if a := s.ask(s.request("GET", "/api/products", "nearby")); !a.passed() || !chosen {
			return noIfForbidden(a)
		}
		return "yes, unless a client connects from a trusted address"
	}},
	{"`allowedCIDRs`, behind a load balancer that tells the client's address", behindBalancer},
}

// noIfForbidden returns the cell for something that some proxies can't do: a request that may pass gets 403 from them.
func noIfForbidden(a answer) string {
	if a.status == http.StatusForbidden {
		return "no"
	}
	return a.word()
}
