package forward_test

import (
	"fmt"
	"net/http"
	"testing"
)

// asksFor returns the scopes that a proxy's call requires, "the route", or "misconfigured".
func asksFor(t *testing.T, d dialect, r *http.Request) string {
	t.Helper()
	request := d.asked(t, r)
	switch {
	case request == nil:
		return "misconfigured"
	case request.FixedScopes == nil:
		return "the route"
	}
	return fmt.Sprint(request.FixedScopes)
}

func TestFixedScopes(t *testing.T) {
	for name, test := range map[string]struct{ query, want string }{
		"none":                   {"", "the route"},
		"one":                    {"scope=products:read", "[products:read]"},
		"several":                {"scope=products:read&scope=orders:write", "[products:read orders:write]"},
		"separated by a plus":    {"scope=products:read+orders:write", "[products:read orders:write]"},
		"separated by a space":   {"scope=products:read%20orders:write", "[products:read orders:write]"},
		"encoded":                {"scope=products%3Aread", "[products:read]"},
		"a wildcard":             {"scope=products:*", "[products:*]"},
		"everything":             {"scope=*", "[*]"},
		"blank":                  {"scope=", "misconfigured"},
		"only a space":           {"scope=+", "misconfigured"},
		"no value":               {"scope", "misconfigured"},
		"no scope":               {"scope=read", "misconfigured"},
		"in capitals":            {"scope=Products:Read", "misconfigured"},
		"separated by a comma":   {"scope=products:read,orders:write", "misconfigured"},
		"one of two malformed":   {"scope=products:read&scope=x", "misconfigured"},
		"a quote":                {`scope=products:read"`, "misconfigured"},
		"a line break":           {"scope=products:read%0d%0aX:y", "misconfigured"},
		"an unknown parameter":   {"scopes=products:read", "misconfigured"},
		"one unknown, one known": {"scope=products:read&debug=1", "misconfigured"},
		"in the wrong case":      {"Scope=products:read", "misconfigured"},
		"a semicolon":            {"scope=products:read;scope=orders:write", "misconfigured"},
		"a malformed escape":     {"scope=%zz", "misconfigured"},
		"one beside a scope":     {"scope=products:read&a=%zz", "misconfigured"},
		"nothing of the kind":    {"&", "misconfigured"},
		"an equals sign":         {"=", "misconfigured"},
	} {
		for dialectName, d := range dialects {
			t.Run(dialectName+": "+name, func(t *testing.T) {
				r := d.call()
				r.URL.RawQuery = test.query
				if got := asksFor(t, d, r); got != test.want {
					t.Errorf("asks for %s, want %s", got, test.want)
				}
			})
		}
	}
}

// TestClientCantFixScopes checks that a client can't fix scopes behind a proxy that appends the client's query, as
// Caddy does if the configured URI has no question mark: GET /api/orders?scope=products:read arrives as
// /auth/forward?scope=products:read (S6, S10). It fails if fixedScopes returns what parseScopes does, whatever the
// client's query is.
func TestClientCantFixScopes(t *testing.T) {
	for name, test := range map[string]struct{ target, query, want string }{
		"the client's":                   {"/api/orders?scope=products:read", "scope=products:read", "misconfigured"},
		"the client's, several":          {"/api/orders?scope=a:b&scope=c:d", "scope=a:b&scope=c:d", "misconfigured"},
		"the client's, encoded":          {"/api/orders?%73cope=a%3ab", "%73cope=a%3ab", "misconfigured"},
		"the client's, and more":         {"/api/orders?scope=a:b&limit=10", "scope=a:b&limit=10", "the route"},
		"the client's, malformed":        {"/api/orders?scope=all", "scope=all", "the route"},
		"the client's, another":          {"/api/orders?limit=10", "limit=10", "the route"},
		"the client's, no value":         {"/api/orders?flag", "flag", "the route"},
		"the client's, two marks":        {"/api/orders??scope=a:b", "?scope=a:b", "the route"},
		"the client's, what a URL bears": {"/api/orders?a=%zz&;x", "a=%zz&;x", "the route"},
		"the client's, blank":            {"/api/orders?", "", "the route"},
		"the proxy's, none":              {"/api/orders?scope=a:b", "", "the route"},
		"the proxy's, client has none":   {"/api/orders", "scope=a:b", "[a:b]"},
		"the proxy's, client has others": {"/api/orders?scope=c:d", "scope=a:b", "[a:b]"},
		"the proxy's, client has more":   {"/api/orders?scope=a:b&x=y", "scope=a:b", "[a:b]"},
		"the proxy's, unknown parameter": {"/api/orders?limit=10", "debug=1", "misconfigured"},
	} {
		t.Run(name, func(t *testing.T) {
			forward := dialects["forward"]
			r := forward.call()
			r.Header.Set("X-Forwarded-Uri", test.target)
			r.URL.RawQuery = test.query
			if got := asksFor(t, forward, r); got != test.want {
				t.Errorf("asks for %s, want %s", got, test.want)
			}
		})
	}
}

// TestFixedScopesWithoutADescription checks which dialects need no headers with fixed scopes: nginx, and so NGINX
// Gateway Fabric, asks by a subrequest, which never has the client's query. For the others the headers must show that.
func TestFixedScopesWithoutADescription(t *testing.T) {
	for name, want := range map[string]string{
		"nginx": "[products:read]", "ngf": "[products:read]", "forward": "misconfigured",
	} {
		d := dialects[name]
		for header := range d.headers {
			t.Run(name+" without "+header, func(t *testing.T) {
				r := d.call()
				r.Header.Del(header)
				r.URL.RawQuery = "scope=products:read"
				if got := asksFor(t, d, r); got != want {
					t.Errorf("asks for %s, want %s", got, want)
				}
			})
		}
	}
}
