package forward_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/access"
)

// FuzzNginxDialect checks that an accepted URL is split without a loss, at the end of the authority.
func FuzzNginxDialect(f *testing.F) {
	for _, seed := range []string{
		"https://api.example.com/api/products?limit=10", "http://user:pw@api.example.com:8443/", "https://a?b/c",
		`https://a\b`,
		"https://a#b", "https:///a", "://a/b", "//a/b", "/a://b/c", "https://a", "https://a/https://b/c", "",
	} {
		f.Add(seed, "GET")
	}
	f.Fuzz(func(t *testing.T, original, method string) {
		nginx := dialects["nginx"]
		r := nginx.call()
		r.Header = http.Header{"X-Original-Url": {original}, "X-Original-Method": {method}}
		request := nginx.asked(t, r)
		if request == nil {
			return
		}
		if original != "https://"+request.Host+request.Target && original != "http://"+request.Host+request.Target {
			t.Errorf("%q is taken apart into %q and %q", original, request.Host, request.Target)
		}
		if strings.ContainsAny(request.Host, `/?#\`) || request.Target == "" {
			t.Errorf("%q has the host %q", original, request.Host)
		}
		if request.Method != method || method == "" {
			t.Errorf("method %q is read as %q", method, request.Method)
		}
	})
}

// FuzzForwardDialect checks that accepted headers are read unchanged. A blank host is accepted: see forwardDialect.
func FuzzForwardDialect(f *testing.F) {
	f.Add("GET", "api.example.com", "/api/products?limit=10")
	f.Add("", "a, b", "//a")
	f.Add("GET", "", "/api/products")
	f.Fuzz(func(t *testing.T, method, host, uri string) {
		forward := dialects["forward"]
		r := forward.call()
		r.Header = http.Header{"X-Forwarded-Method": {method}, "X-Forwarded-Host": {host}, "X-Forwarded-Uri": {uri}}
		request := forward.asked(t, r)
		if (request != nil) != (method != "" && uri != "") {
			t.Fatalf("asked: %t", request != nil)
		}
		if request != nil && (request.Method != method || request.Host != host || request.Target != uri) {
			t.Errorf("read as %+v", request)
		}
	})
}

// FuzzFixedScopes checks that the result has valid scopes only, and none of a client's own.
func FuzzFixedScopes(f *testing.F) {
	f.Add("scope=products:read", "/a?scope=products:read")
	f.Add("scope=products:read+orders:*&scope=*", "/a?limit=10")
	f.Add("limit=10", "/a?limit=10")
	f.Fuzz(func(t *testing.T, query, target string) {
		for name, d := range dialects {
			r := d.call()
			r.URL.RawQuery = query
			r.Header.Set("X-Forwarded-Uri", target)
			request := d.asked(t, r)
			if request == nil {
				continue
			}
			if request.FixedScopes != nil && (len(request.FixedScopes) == 0 || query == "") {
				t.Errorf("%q asks for nothing", query)
			}
			if _, clients, _ := strings.Cut(target, "?"); name == "forward" && request.FixedScopes != nil && query == clients {
				t.Errorf("the client fixed the scopes %q", request.FixedScopes)
			}
			if name == "nginx" && query != "" && request.FixedScopes == nil {
				t.Errorf("%q is left unread", query)
			}
			for _, scope := range request.FixedScopes {
				if !access.ValidScope(string(scope)) {
					t.Errorf("%q is not a scope", scope)
				}
			}
		}
	})
}
