package forward_test

import (
	"net/http"
	"testing"
)

const asDescribed = "GET api.example.com /api/products?limit=10"

// TestNginxURL covers the forms of X-Original-URL. Invalid hosts and paths are for verify to refuse: here they must be
// unchanged.
func TestNginxURL(t *testing.T) {
	for name, test := range map[string]struct{ original, want string }{
		"https":               {"https://api.example.com/api/products?limit=10", asDescribed},
		"http":                {"http://api.example.com/api/products?limit=10", asDescribed},
		"a port":              {"https://api.example.com:8443/a", "GET api.example.com:8443 /a"},
		"v6":                  {"https://[2001:db8::1]:8443/a", "GET [2001:db8::1]:8443 /a"},
		"the root":            {"https://api.example.com/", "GET api.example.com /"},
		"upper-case host":     {"https://API.example.com/a", "GET API.example.com /a"},
		"user information":    {"https://user:pw@api.example.com/a", "GET user:pw@api.example.com /a"},
		"an empty host":       {"https:///a", "GET  /a"},
		"an encoded path":     {"https://api.example.com/%2e%2e/a%2fb", "GET api.example.com /%2e%2e/a%2fb"},
		"dot segments":        {"https://api.example.com/a/../b//c", "GET api.example.com /a/../b//c"},
		"a query in the host": {"https://api.example.com?/a", "GET api.example.com ?/a"},
		"a fragment":          {"https://api.example.com/a#b", "GET api.example.com /a#b"},
		"a fragment, no path": {"https://api.example.com#/a", "GET api.example.com #/a"},
		"a backslash":         {`https://api.example.com\@evil.example/a`, `GET api.example.com \@evil.example/a`},
		"absolute form within": {
			"https://api.example.com/http://evil.example/a", "GET api.example.com /http://evil.example/a",
		},
		"absolute form, joined": {
			"https://api.example.comhttp://evil.example/a", "GET api.example.comhttp: //evil.example/a",
		},
		"a space":              {"https://api.example.com/a b", "GET api.example.com /a b"},
		"two question marks":   {"https://api.example.com/a?b?c", "GET api.example.com /a?b?c"},
		"no scheme":            {"api.example.com/a", "misconfigured"},
		"no scheme, slashes":   {"//api.example.com/a", "misconfigured"},
		"an empty scheme":      {"://api.example.com/a", "misconfigured"},
		"another scheme":       {"ftp://api.example.com/a", "misconfigured"},
		"a scheme in capitals": {"HTTPS://api.example.com/a", "misconfigured"},
		"only a path":          {"/api/products", "misconfigured"},
		"a URL in a path":      {"/a://api.example.com/api/products", "misconfigured"},
		"a URL in a query":     {"/a?b=https://api.example.com/api/products", "misconfigured"},
		"no path":              {"https://api.example.com", "misconfigured"},
		"only a scheme":        {"https://", "misconfigured"},
		"blank":                {"", "misconfigured"},
	} {
		t.Run(name, func(t *testing.T) {
			nginx := dialects["nginx"]
			r := nginx.call()
			r.Header.Set("X-Original-URL", test.original)
			if got := described(nginx.asked(t, r)); got != test.want {
				t.Errorf("read as %q, want %q", got, test.want)
			}
		})
	}
}

// TestForwardHeaders checks that the three headers are read unchanged.
func TestForwardHeaders(t *testing.T) {
	for name, test := range map[string]struct{ method, host, uri, want string }{
		"as they should be": {"GET", "api.example.com", "/api/products?limit=10", asDescribed},
		"another method":    {"PROPFIND", "api.example.com", "/a", "PROPFIND api.example.com /a"},
		"a method in lower": {"get", "api.example.com", "/a", "get api.example.com /a"},
		"a port":            {"GET", "api.example.com:8443", "/a", "GET api.example.com:8443 /a"},
		"two hosts":         {"GET", "api.example.com, evil.example", "/a", "GET api.example.com, evil.example /a"},
		"absolute form": {
			"GET", "api.example.com", "https://evil.example/a", "GET api.example.com https://evil.example/a",
		},
		"dot segments":   {"GET", "api.example.com", "/a/../b", "GET api.example.com /a/../b"},
		"an asterisk":    {"OPTIONS", "api.example.com", "*", "OPTIONS api.example.com *"},
		"a blank method": {"", "api.example.com", "/a", "misconfigured"},
		"a blank host":   {"GET", "", "/a", "GET  /a"},
		"a blank path":   {"GET", "api.example.com", "", "misconfigured"},
	} {
		t.Run(name, func(t *testing.T) {
			forward := dialects["forward"]
			r := forward.call()
			r.Header.Set("X-Forwarded-Method", test.method)
			r.Header.Set("X-Forwarded-Host", test.host)
			r.Header.Set("X-Forwarded-Uri", test.uri)
			if got := described(forward.asked(t, r)); got != test.want {
				t.Errorf("read as %q, want %q", got, test.want)
			}
		})
	}
}

// TestNGFHeaders checks that the values of nginx's variables are read unchanged.
func TestNGFHeaders(t *testing.T) {
	for name, test := range map[string]struct{ method, host, path, want string }{
		"as they should be": {"GET", "api.example.com", "/api/products?limit=10", asDescribed},
		"another method":    {"PROPFIND", "api.example.com", "/a", "PROPFIND api.example.com /a"},
		"a port":            {"GET", "api.example.com:8443", "/a", "GET api.example.com:8443 /a"},
		"dot segments":      {"GET", "api.example.com", "/a/../b", "GET api.example.com /a/../b"},
		"absolute form": {
			"GET", "api.example.com", "https://evil.example/a", "GET api.example.com https://evil.example/a",
		},
		"a blank method": {"", "api.example.com", "/a", "misconfigured"},
		"a blank host":   {"GET", "", "/a", "GET  /a"},
		"a blank path":   {"GET", "api.example.com", "", "misconfigured"},
	} {
		t.Run(name, func(t *testing.T) {
			ngf := dialects["ngf"]
			r := ngf.call()
			r.Host = test.host
			r.Header.Set("Method", test.method)
			r.Header.Set("Path", test.path)
			if got := described(ngf.asked(t, r)); got != test.want {
				t.Errorf("read as %q, want %q", got, test.want)
			}
		})
	}
}

// TestEveryHeaderExactlyOnce removes, empties and doubles each header of each dialect. A blank host is not the proxy's
// fault: a client of HTTP/1.0 need not send one.
func TestEveryHeaderExactlyOnce(t *testing.T) {
	for name, d := range dialects {
		for header, value := range d.headers {
			header = http.CanonicalHeaderKey(header)
			for what, values := range map[string][]string{
				"missing": nil, "no value": {}, "blank": {""}, "twice": {value, value}, "twice, once blank": {"", value},
			} {
				if header == "X-Forwarded-Host" && what == "blank" {
					continue
				}
				t.Run(name+": "+header+" "+what, func(t *testing.T) {
					r := d.call()
					r.Header[header] = values
					decider := &recorder{}
					response := d.ask(t, decider, r)
					if decider.request != nil {
						t.Errorf("the decider is asked about %+v", decider.request)
					}
					wantMisconfigured(t, response)
				})
			}
		}
	}
}

// TestOnlyTheOwnDialectIsRead checks that each dialect ignores the headers of all others, and more, if a client sends
// them.
func TestOnlyTheOwnDialectIsRead(t *testing.T) {
	others := map[string]string{
		"X-Http-Method-Override":  "DELETE",
		"X-Http-Method":           "DELETE",
		"X-Method-Override":       "DELETE",
		"X-Original-Uri":          "/admin",
		"X-Original-Host":         "evil.example",
		"X-Rewrite-Url":           "/admin",
		"X-Auth-Request-Redirect": "/admin",
		"X-Forwarded-Server":      "evil.example",
		"X-Forwarded-Path":        "/admin",
		"X-Forwarded-Prefix":      "/admin",
		"X-Real-Ip":               "198.51.100.1",
		"X-Client-Ip":             "198.51.100.1",
		"Forwarded":               "for=198.51.100.1;host=evil.example",
		"X_Tenant_Id":             "9d2f6c1e-0b7a-4f0e-8a51-5f3c2b1d4e60",
		"Path":                    "/admin",
		"Method":                  "DELETE",
		"Host":                    "evil.example",
	}
	for name, d := range dialects {
		for otherName, other := range dialects {
			if name == otherName {
				continue
			}
			t.Run(name, func(t *testing.T) {
				r := d.call()
				for header, value := range others {
					if d.headers[header] == "" {
						r.Header.Set(header, value)
					}
				}
				for header := range other.headers {
					r.Header.Set(header, "https://evil.example/admin")
				}
				request := d.asked(t, r)
				if got := described(request); got != asDescribed {
					t.Errorf("read as %q", got)
				}
				if request.Client.IsValid() || request.TenantID != nil || request.Authorization != nil {
					t.Errorf("read as %+v", request)
				}
			})
			t.Run(name+", in place of the own headers", func(t *testing.T) {
				r := d.call()
				for header := range d.headers {
					r.Header.Del(header)
				}
				for header, value := range other.headers {
					r.Header.Set(header, value)
				}
				wantMisconfigured(t, d.ask(t, &recorder{}, r))
			})
		}
	}
}

// TestAnyMethodOfTheCall checks that the method of the proxy's own request is not taken for the client's.
func TestAnyMethodOfTheCall(t *testing.T) {
	for name, d := range dialects {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
			t.Run(name+" "+method, func(t *testing.T) {
				r := d.call()
				r.Method = method
				if got := described(d.asked(t, r)); got != asDescribed {
					t.Errorf("read as %q", got)
				}
			})
		}
	}
}
