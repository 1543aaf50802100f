package serving

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/nexuscommerce/apikey-operator/internal/decide"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/kubeauth"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// unsynced is an index that was never complete.
type unsynced struct{}

func (unsynced) Freshness(time.Time) verify.Freshness { return verify.NotSynced }
func (unsynced) FreshAsOf() time.Time                 { return time.Time{} }

// exchangeLine sends a request line unchanged to the verifier's routes, and returns the response and its body.
func exchangeLine(t *testing.T, line string) (*http.Response, string) {
	t.Helper()
	decider := decide.New(decide.Options{
		View: index.NewView(), Source: unsynced{}, Clock: time.Now, Registry: prometheus.NewRegistry(),
	})
	listener, err := Listen("http-bind-address", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewHTTP(listener, NewRoutes(
		RouteOptions{Decider: decider, Guard: kubeauth.New(kubeauth.Options{Clock: clock.RealClock{}})},
	), nil)
	go func() { _ = server.Serve() }()
	ended, end := context.WithCancel(t.Context())
	end()
	defer func() { _ = server.Drain(ended) }() // No client is left.
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := io.WriteString(
		connection, line+" HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n",
	); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// acme is a tenant's ID.
const acme = "3714240b-2e06-4c35-8856-ccc1c096323e"

// Reasons for which the routes refuse a request.
const misconfigured, anonymous, nowhere = "proxy_misconfigured", "no_credentials", "not_found"

// routeCases has request lines, and why they are refused.
var routeCases = map[string]string{
	"GET /auth/nginx":                         misconfigured,
	"POST /auth/nginx":                        misconfigured,
	"PROPFIND /auth/nginx":                    misconfigured,
	"GET /auth/nginx?scope":                   misconfigured,
	"GET /auth/forward":                       misconfigured,
	"GET /auth/forward?":                      misconfigured,
	"GET /auth/static":                        misconfigured,
	"GET /auth/static?scope=x":                misconfigured,
	"GET /auth/static?scope=products:read":    anonymous,
	"POST /auth/static?scope=products:read":   anonymous,
	"GET /auth/ngf":                           misconfigured,
	"GET /ext-authz/":                         anonymous,
	"GET /ext-authz/api/products?limit=10":    anonymous,
	"DELETE /ext-authz/api/products":          anonymous,
	"PROPFIND /ext-authz/api/products":        anonymous,
	"CONNECT /ext-authz/api/products":         anonymous,
	"OPTIONS /ext-authz/api/products":         anonymous,
	"GET /ext-authz//api/products":            anonymous,
	"GET /ext-authz/../auth/nginx":            anonymous,
	"GET /ext-authz/./api":                    anonymous,
	"GET /ext-authz/%2e%2e/%2fapi;a=b#c??":    anonymous,
	"GET /ext-authz/api/products?a=/../":      anonymous,
	"GET /ext-authz":                          nowhere,
	"GET /ext-authz?a=/":                      nowhere,
	"GET /ext-authz%2fapi":                    nowhere,
	"GET /ext-authzx/api":                     nowhere,
	"GET //ext-authz/api":                     nowhere,
	"GET http://x/ext-authz/api":              nowhere,
	"GET /":                                   nowhere,
	"GET /auth":                               nowhere,
	"GET /auth/":                              nowhere,
	"GET /auth/other":                         nowhere,
	"GET /auth/nginx/":                        nowhere,
	"GET /auth/nginx/x":                       nowhere,
	"GET //auth/nginx":                        nowhere,
	"GET /auth//nginx":                        nowhere,
	"GET /./auth/nginx":                       nowhere,
	"GET /x/../auth/nginx":                    nowhere,
	"GET /auth/%6eginx":                       nowhere,
	"GET /auth%2fnginx":                       nowhere,
	"GET /auth/nginx;x":                       nowhere,
	"GET /auth/nginx#x":                       nowhere,
	"GET /auth/Nginx":                         nowhere,
	"GET http://x/auth/nginx":                 nowhere,
	"OPTIONS *":                               nowhere,
	"CONNECT /auth":                           nowhere,
	"CONNECT verifier:8080":                   nowhere,
	"CONNECT /auth/nginx/../..":               nowhere,
	"GET /debug/explain":                      nowhere, // It is served at the metrics' address.
	"GET /metrics":                            nowhere,
	"POST /token/introspect/":                 nowhere,
	"POST /token/introspec%74":                nowhere,
	"POST /token/review/x":                    nowhere,
	"POST /token/review/":                     nowhere,
	"POST /token/review/acme":                 nowhere,
	"POST /token/review/" + acme + "/":        nowhere,
	"POST /token/review//" + acme:             nowhere,
	"POST /token//review/" + acme:             nowhere,
	"POST /token/review/../review/" + acme:    nowhere,
	"POST /token/review/%33" + acme[1:]:       nowhere,
	"POST /token/review%2f" + acme:            nowhere,
	"POST /token/review/" + acme + "," + acme: nowhere,
	"POST /token/review/" + acme[:35]:         nowhere,
	"POST /token/review/{" + acme + "}":       nowhere,
}

// TestRoutes sends request lines unchanged. With http.ServeMux, ambiguous ones would be redirected.
func TestRoutes(t *testing.T) {
	status := map[string]int{
		misconfigured: http.StatusForbidden, anonymous: http.StatusUnauthorized, nowhere: http.StatusNotFound,
	}
	for line, reason := range routeCases {
		t.Run(line, func(t *testing.T) {
			response, body := exchangeLine(t, line)
			if response.StatusCode != status[reason] || !strings.HasPrefix(body, `{"reason":"`+reason+`","message":"`) {
				t.Errorf("status %d, body %s", response.StatusCode, body)
			}
			if got := response.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control is %q", got)
			}
			if got := response.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type is %q", got)
			}
		})
	}
}

// TestTokenRoutes checks that introspection requires an account, and that TokenReviews don't.
func TestTokenRoutes(t *testing.T) {
	for line, want := range map[string]int{
		"POST /token/introspect":         http.StatusUnauthorized,
		"GET /token/introspect":          http.StatusUnauthorized,
		"POST /token/introspect?token=x": http.StatusUnauthorized,
		"GET /token/review":              http.StatusMethodNotAllowed,
		"POST /token/review":             http.StatusBadRequest,
		"POST /token/review/" + acme:     http.StatusBadRequest,
		"GET /token/review/" + acme:      http.StatusMethodNotAllowed,
		"POST /token/review/" + strings.ToUpper(acme) + "?timeout=30s": http.StatusBadRequest,
	} {
		if response, body := exchangeLine(t, line); response.StatusCode != want {
			t.Errorf("%s: status %d, want %d: %s", line, response.StatusCode, want, body)
		}
	}
}
