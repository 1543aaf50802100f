package forward_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/surface/forward"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const peer = "10.0.0.1:4711"

// recorder is a decider that records the request, and returns a fixed decision.
type recorder struct {
	decision verify.Decision
	surface  string
	request  *verify.Request
}

func (r *recorder) Decide(surface string, request *verify.Request) verify.Decision {
	r.surface, r.request = surface, request
	return r.decision
}

func (r *recorder) Refuse(surface string, reason verify.Reason) verify.Decision {
	r.surface = surface
	return verify.Decision{Outcome: verify.Forbidden, Reason: reason}
}

// dialect is one of the handlers, and the headers with which its proxies describe
//
//	GET https://api.example.com/api/products?limit=10
type dialect struct {
	handler func(forward.Decider, clientip.Trust) *forward.Handler
	path    string
	headers map[string]string
	// host is the Host of the proxy's own request.
	host string
	// hidesClient means that X-Forwarded-For is the client's own.
	hidesClient bool
}

var dialects = map[string]dialect{
	"nginx": {handler: forward.NewNginx, path: "/auth/nginx", headers: map[string]string{
		"X-Original-URL":    "https://api.example.com/api/products?limit=10",
		"X-Original-Method": "GET",
	}, host: "verifier"},
	"forward": {handler: forward.NewForward, path: "/auth/forward", headers: map[string]string{
		"X-Forwarded-Method": "GET",
		"X-Forwarded-Host":   "api.example.com",
		"X-Forwarded-Uri":    "/api/products?limit=10",
	}, host: "verifier"},
	"ngf": {handler: forward.NewNGF, path: "/auth/ngf", headers: map[string]string{
		"Method": "GET",
		"Path":   "/api/products?limit=10",
	}, host: "api.example.com", hidesClient: true},
}

// call returns a proxy's request, for a test to change.
func (d dialect) call() *http.Request {
	r := httptest.NewRequest(http.MethodGet, d.path, http.NoBody)
	r.RemoteAddr, r.Host = peer, d.host
	for name, value := range d.headers {
		r.Header.Set(name, value)
	}
	return r
}

// ask returns the dialect's response to a request from a trusted proxy.
func (d dialect) ask(t testing.TB, decider forward.Decider, r *http.Request) *http.Response {
	t.Helper()
	trust, err := clientip.NewTrust([]string{"10.0.0.0/8", "fe80::/10"})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	d.handler(decider, trust).ServeHTTP(w, r)
	return w.Result()
}

// asked returns the request that the decider gets, or nil if the call is refused before.
func (d dialect) asked(t testing.TB, r *http.Request) *verify.Request {
	t.Helper()
	decider := &recorder{decision: verify.Decision{Outcome: verify.Allow, Reason: verify.ReasonAllowed}}
	response := d.ask(t, decider, r)
	if (decider.request != nil) != (response.StatusCode == http.StatusOK) {
		t.Errorf("status %d for %+v", response.StatusCode, decider.request)
	}
	return decider.request
}

// described returns the request line and host of a request, or "misconfigured".
func described(request *verify.Request) string {
	if request == nil {
		return "misconfigured"
	}
	return request.Method + " " + request.Host + " " + request.Target
}
