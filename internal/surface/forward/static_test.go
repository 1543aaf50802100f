package forward_test

import (
	"net/http"
	"net/netip"
	"slices"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/surface/forward"
)

// static is the dialect without headers.
var static = dialect{handler: forward.NewStatic, path: "/auth/static", host: "192.0.2.10:8080", hidesClient: true}

// TestStaticScopes checks that only the query says what a request requires, and that nothing passes without one.
// TestFixedScopes covers what a query may contain.
func TestStaticScopes(t *testing.T) {
	for name, test := range map[string]struct {
		query   string
		headers map[string]string
		want    string
	}{
		"one":                      {"scope=products:read", nil, "[products:read]"},
		"several":                  {"scope=products:read+orders:write", nil, "[products:read orders:write]"},
		"none":                     {"", nil, "misconfigured"},
		"none, by a question mark": {"", map[string]string{"X-Forwarded-Uri": "/a?"}, "misconfigured"},
		"malformed":                {"scope=all", nil, "misconfigured"},
		"another parameter":        {"scope=products:read&debug=1", nil, "misconfigured"},
		"none, a client's headers": {"", map[string]string{
			"Scope": "a:b", "X-Scope": "a:b", "X-Original-Url": "https://api.example.com/a?scope=a:b",
			"X-Original-Method": "GET",
			"X-Forwarded-Uri":   "/a?scope=a:b", "X-Forwarded-Host": "api.example.com", "X-Forwarded-Method": "GET",
			"Path":   "/a",
			"Method": "GET",
		}, "misconfigured"},
		"one, a client's headers": {"scope=products:read", map[string]string{
			"X-Original-Url": "https://api.example.com/a?scope=a:b", "X-Forwarded-Uri": "/a?scope=a:b", "Scope": "a:b",
		}, "[products:read]"},
		// A proxy that appends the client's query, as Caddy does, must use another URL.
		"the client's": {"scope=a:b", map[string]string{"X-Forwarded-Uri": "/a?scope=a:b"}, "misconfigured"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, "PROPFIND"} {
				r := static.call()
				r.Method, r.URL.RawQuery = method, test.query
				for header, value := range test.headers {
					r.Header.Set(header, value)
				}
				if got := asksFor(t, static, r); got != test.want {
					t.Errorf("%s asks for %s, want %s", method, got, test.want)
				}
			}
		})
	}
}

// TestStaticReadsNothingElse checks that headers of other dialects, and addresses, that a client sends are not taken
// for the proxy's.
func TestStaticReadsNothingElse(t *testing.T) {
	r := static.call()
	r.URL.RawQuery = "scope=products:read"
	for _, other := range dialects {
		for header, value := range other.headers {
			r.Header.Set(header, value)
		}
	}
	r.Header.Set("X-Forwarded-For", "203.0.113.7")
	r.Header.Set("X-Real-Ip", "203.0.113.7")
	r.Header.Set("Authorization", "Bearer a, Bearer b")
	r.Header["X-Tenant-Id"] = []string{"a", "b"}
	request := static.asked(t, r)
	if request.Host != "" || request.Method != "" || request.Target != "" {
		t.Errorf("read as %q", described(request))
	}
	if request.Client != (netip.Addr{}) {
		t.Errorf("client %v", request.Client)
	}
	if !slices.Equal(request.Authorization, []string{"Bearer a, Bearer b"}) ||
		!slices.Equal(request.TenantID, []string{"a", "b"}) {
		t.Errorf("read as %+v", request)
	}
}

func TestStaticIsNamed(t *testing.T) {
	for _, query := range []string{"scope=products:read", ""} { // One is decided, the other refused.
		decider := &recorder{}
		r := static.call()
		r.URL.RawQuery = query
		_ = static.ask(t, decider, r).Body.Close()
		if decider.surface != "static" {
			t.Errorf("counted as %q", decider.surface)
		}
	}
}
