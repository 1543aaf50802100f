package extauthz_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// call returns Envoy's request for a client's request.
func call(method, target string) *nethttp.Request {
	r := httptest.NewRequest(method, "/", nethttp.NoBody)
	r.RequestURI, r.Host, r.RemoteAddr = target, "api.example.com", envoy+":4711"
	return r
}

// askHTTP returns the request that the decider gets, or nil if the call is refused before, and the response.
func askHTTP(
	t testing.TB, decision verify.Decision, r *nethttp.Request, keepToken bool,
) (*verify.Request, *nethttp.Response) {
	t.Helper()
	decider := &recorder{decision: decision}
	w := httptest.NewRecorder()
	extauthz.NewHTTP(decider, newTrust(t), keepToken).ServeHTTP(w, r)
	if decider.surface != "ext-authz" {
		t.Errorf("counted as %q", decider.surface)
	}
	return decider.request, w.Result()
}

// TestTarget checks that what follows the prefix is the client's target, unchanged.
func TestTarget(t *testing.T) {
	for target, want := range map[string]string{
		"/ext-authz/api/products?limit=10":   "/api/products?limit=10",
		"/ext-authz/":                        "/",
		"/ext-authz/?":                       "/?",
		"/ext-authz//api":                    "//api",
		"/ext-authz/a/../b":                  "/a/../b",
		"/ext-authz/%2e%2e/a%2Fb":            "/%2e%2e/a%2Fb",
		"/ext-authz/a;b=c":                   "/a;b=c",
		"/ext-authz/a#b":                     "/a#b",
		`/ext-authz/a\b`:                     `/a\b`,
		"/ext-authz/a?b?c":                   "/a?b?c",
		"/ext-authz/a?scope=a:b":             "/a?scope=a:b",
		"/ext-authz/ext-authz/a":             "/ext-authz/a",
		"/ext-authz/http://evil.example/a":   "/http://evil.example/a",
		"/ext-authz":                         "misconfigured",
		"/ext-authz?a":                       "misconfigured",
		"/ext-authz*":                        "misconfigured",
		"/ext-authzx/a":                      "misconfigured",
		"/EXT-AUTHZ/a":                       "misconfigured",
		"http://api.example.com/ext-authz/a": "misconfigured",
		"*":                                  "misconfigured",
		"":                                   "misconfigured",
	} {
		t.Run(target, func(t *testing.T) {
			request, response := askHTTP(t, allowed, call("GET", target), false)
			got, status := "misconfigured", nethttp.StatusForbidden
			if request != nil {
				got, status = request.Target, nethttp.StatusOK
			}
			if got != want {
				t.Errorf("read as %q, want %q", got, want)
			}
			if response.StatusCode != status {
				t.Errorf("status %d, want %d", response.StatusCode, status)
			}
			if request != nil && (request.FixedScopes != nil || request.Method != "GET" || request.Host != "api.example.com") {
				t.Errorf("read as %+v", request)
			}
		})
	}
}

// TestMethods sends requests to a real server, with methods that net/http treats specially.
func TestMethods(t *testing.T) {
	for _, method := range []string{
		"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X-Y",
	} {
		t.Run(method, func(t *testing.T) {
			decider := &recorder{decision: allowed}
			server := httptest.NewServer(extauthz.NewHTTP(decider, newTrust(t), false))
			defer server.Close()
			connection, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			if _, err := fmt.Fprintf(connection, "%s /ext-authz/a//b?c HTTP/1.1\r\nHost: "+
				"API.example.com:8443\r\nAuthorization: Bearer a\r\n"+
				"authorization: Bearer b\r\nX-Tenant-ID: c\r\nX-HTTP-Method-Override: DELETE\r\nContent-Length: "+
				"0\r\n\r\n", method); err != nil {
				t.Fatal(err)
			}
			response, err := nethttp.ReadResponse(bufio.NewReader(connection), &nethttp.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			got, want := described(decider.request), method+" API.example.com:8443 /a//b?c"
			if response.StatusCode != 200 || got != want {
				t.Fatalf("status %d, read as %q, want %q", response.StatusCode, got, want)
			}
			if r := decider.request; !slices.Equal(r.Authorization, []string{"Bearer a", "Bearer b"}) ||
				!slices.Equal(r.TenantID, []string{"c"}) {
				t.Errorf("read as %+v", r)
			}
		})
	}
}

func TestPassOverHTTP(t *testing.T) {
	for name, test := range map[string]struct {
		decision  verify.Decision
		keepToken bool
		identity  []string
		remove    []string
	}{
		"a key": {
			allowed, false, []string{"7Hk2PqZx", "shop/warehouse", "products:read orders:*", acme}, []string{"authorization"},
		},
		"a key, and its token kept": {
			allowed, true, []string{"7Hk2PqZx", "shop/warehouse", "products:read orders:*", acme}, nil,
		},
		"nobody": {
			nobody, false, []string{"", "", "", ""}, append([]string{"authorization"}, identityHeaders...),
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, response := askHTTP(t, test.decision, call("GET", "/ext-authz/a"), test.keepToken)
			if response.StatusCode != 200 {
				t.Errorf("status %d", response.StatusCode)
			}
			for i, header := range identityHeaders {
				if got := response.Header.Values(header); !slices.Equal(got, test.identity[i:i+1]) {
					t.Errorf("%s is %q, want %q", header, got, test.identity[i])
				}
			}
			if got := response.Header.Values("Cache-Control"); !slices.Equal(got, []string{"no-store"}) {
				t.Errorf("Cache-Control is %q", got)
			}
			lists := response.Header.Values("X-Envoy-Auth-Headers-To-Remove")
			if len(lists) != 1 {
				t.Fatalf("to remove are %q", lists)
			}
			wantRemoved(t, strings.Split(lists[0], ","), test.remove)
		})
	}
}

func TestRefuseOverHTTP(t *testing.T) {
	for name, test := range map[string]struct {
		decision  verify.Decision
		status    int
		challenge string
		reason    string
	}{
		"no credentials": {verify.Decision{
			Outcome: verify.Unauthorized, Reason: verify.ReasonNoCredentials,
		}, 401, `Bearer realm="api.example.com"`, "no_credentials"},
		"no route": {
			verify.Decision{Outcome: verify.Forbidden, Reason: verify.ReasonNoRoute}, 403, "", "route_not_declared",
		},
		"not fresh": {
			verify.Decision{Outcome: verify.Unavailable, Reason: verify.ReasonUnavailable}, 403, "", "unavailable",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, response := askHTTP(t, test.decision, call("DELETE", "/ext-authz/a"), false)
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.status ||
				!strings.HasPrefix(string(body), `{"reason":"`+test.reason+`","message":"`) {
				t.Errorf("status %d, body %s", response.StatusCode, body)
			}
			if got := response.Header.Get("WWW-Authenticate"); got != test.challenge {
				t.Errorf("challenge %q", got)
			}
			for _, header := range append([]string{"X-Envoy-Auth-Headers-To-Remove"}, identityHeaders...) {
				if got := response.Header.Values(header); got != nil {
					t.Errorf("%s is %q", header, got)
				}
			}
			if got := response.Header.Values("Cache-Control"); !slices.Equal(got, []string{"no-store"}) {
				t.Errorf("Cache-Control is %q", got)
			}
		})
	}
}

// TestClientAddressOverHTTP checks that Envoy's own address, which it added up to version 1.27, is not taken for the
// client's. The chain is tested in clientip.
func TestClientAddressOverHTTP(t *testing.T) {
	for chain, want := range map[string]string{
		"":                              "",
		envoy:                           "",
		"203.0.113.7":                   "203.0.113.7",
		"10.9.9.9,203.0.113.7":          "203.0.113.7",
		"203.0.113.7," + envoy:          "203.0.113.7",
		"10.9.9.9,203.0.113.7," + envoy: "203.0.113.7",
	} {
		t.Run(chain, func(t *testing.T) {
			r := call("GET", "/ext-authz/a")
			if chain != "" {
				r.Header.Set("X-Forwarded-For", chain)
			}
			client, _ := netip.ParseAddr(want)
			if request, _ := askHTTP(t, allowed, r, false); request.Client != client {
				t.Errorf("client %v, want %v", request.Client, client)
			}
		})
	}
}
