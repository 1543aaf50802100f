// Package forward answers proxies that send an HTTP request of their own and describe the client's request in headers.
// There is a handler for each dialect, and each reads only its own dialect's headers: proxies pass on the headers of
// other dialects as the client sent them.
//
//	          GET /auth/forward                          ┌──────────┐
//	┌───────┐ X-Forwarded-Method/Host/Uri, Authorization │ this     │ verify.Request ┌────────┐
//	│ proxy ├───────────────────────────────────────────▶│ package  ├───────────────▶│ verify │
//	└───────┘◀───────────────────────────────────────────┤          │◀───────────────┤        │
//	          200 + identity headers, 401 or 403         └──────────┘    Decision    └────────┘
package forward

import (
	"net/http"
	"net/url"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/authresponse"
	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// Decider decides whether a request may pass.
type Decider interface {
	Decide(surface string, request *verify.Request) verify.Decision
	// Refuse decides about a request that the proxy did not describe.
	Refuse(surface string, reason verify.Reason) verify.Decision
}

// dialect reads the client's host, method and target from a request of one kind of proxy. It returns false if the proxy
// did not send each of them exactly once.
type dialect func(*http.Request) (host, method, target string, ok bool)

// Handler answers one kind of proxy.
type Handler struct {
	surface string
	dialect dialect
	decider Decider
	trust   clientip.Trust
	// keepsQuery means that some of these proxies append the client's query to a URL without one, as Caddy does.
	keepsQuery bool
	// needsScopes means that these proxies send nothing about the request, so their configuration must fix the scopes.
	needsScopes bool
	// hidesClient means that X-Forwarded-For is what the client sent: these proxies ask before they set it.
	hidesClient bool
}

// NewNginx returns the handler for nginx's auth_request and ingress-nginx: X-Original-URL (scheme://host/uri) and
// X-Original-Method.
func NewNginx(decider Decider, trust clientip.Trust) *Handler {
	return &Handler{surface: "nginx", dialect: nginxDialect, decider: decider, trust: trust}
}

// NewForward returns the handler for Traefik's ForwardAuth, Caddy's forward_auth and APISIX's forward-auth:
// X-Forwarded-Method, X-Forwarded-Host and X-Forwarded-Uri.
func NewForward(decider Decider, trust clientip.Trust) *Handler {
	return &Handler{surface: "forward", dialect: forwardDialect, decider: decider, trust: trust, keepsQuery: true}
}

// NewStatic returns the handler for haproxy-ingress, which calls its auth-url with the client's headers and nothing
// about the request. The query of that URL fixes the scopes.
func NewStatic(decider Decider, trust clientip.Trust) *Handler {
	return &Handler{
		surface: "static", dialect: staticDialect, decider: decider, trust: trust, needsScopes: true, hidesClient: true,
	}
}

// NewNGF returns the handler for NGINX Gateway Fabric's ExternalAuth filter: Path, Method, and the client's own Host.
func NewNGF(decider Decider, trust clientip.Trust) *Handler {
	return &Handler{surface: "ngf", dialect: ngfDialect, decider: decider, trust: trust, hidesClient: true}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request := verify.Request{
		Authorization: r.Header["Authorization"],
		TenantID:      r.Header["X-Tenant-Id"],
		Connection:    r.Header["Connection"],
		Traceparent:   r.Header["Traceparent"],
	}
	if !h.hidesClient {
		request.Client = h.trust.Client(clientip.Peer(r.RemoteAddr), r.Header["X-Forwarded-For"])
	}
	var described, configured bool
	request.Host, request.Method, request.Target, described = h.dialect(r)
	request.FixedScopes, configured = h.fixedScopes(r, request.Target, described)
	if !configured || (request.FixedScopes == nil && (!described || h.needsScopes)) {
		authresponse.Write(w, h.decider.Refuse(h.surface, verify.ReasonMisconfigured), request.Host)
		return
	}
	authresponse.Write(w, h.decider.Decide(h.surface, &request), request.Host)
}

// fixedScopes returns the scopes that the query of the URL that the proxy called fixes. It returns false if the query
// can't be relied on.
//
// If the proxy keeps the client's query, a client could fix the scopes itself: GET /admin?scope=products:read would
// pass with any key that has that scope. So scopes in the client's own query are refused, and so are scopes if that
// query is not known. Any other query of the client's is ignored, because its route decides.
func (h *Handler) fixedScopes(r *http.Request, target string, described bool) (scopes []keysv1alpha1.Scope, ok bool) {
	query := r.URL.RawQuery
	scopes, ok = parseScopes(query)
	if h.needsScopes && isClients(query, r.Header["X-Forwarded-Uri"]) {
		return nil, false
	}
	if !h.keepsQuery {
		return scopes, ok
	}
	if query != "" && (!described || isClients(query, []string{target})) {
		return nil, described && !ok
	}
	return scopes, ok
}

// isClients reports whether a query is that of one of the targets, which a client requested.
func isClients(query string, targets []string) bool {
	for _, target := range targets {
		if _, clients, _ := strings.Cut(target, "?"); query == clients {
			return true
		}
	}
	return false
}

// staticDialect reads nothing.
func staticDialect(*http.Request) (host, method, target string, ok bool) { return "", "", "", true }

func nginxDialect(r *http.Request) (host, method, target string, ok bool) {
	original, ok := one(r.Header["X-Original-Url"])
	if !ok {
		return "", "", "", false
	}
	// Split by hand: a URL parser would decode, and normalize what must be refused. nginx knows these two schemes only.
	// With any other, the proxy's configuration has composed the header in another way, perhaps from what the client
	// chose.
	scheme, rest, ok := strings.Cut(original, "://")
	if !ok || (scheme != "https" && scheme != "http") {
		return "", "", "", false
	}
	slash := strings.IndexAny(rest, `/?#\`)
	if slash < 0 {
		return "", "", "", false
	}
	method, ok = one(r.Header["X-Original-Method"])
	return rest[:slash], method, rest[slash:], ok
}

func forwardDialect(r *http.Request) (host, method, target string, ok bool) {
	hosts := r.Header["X-Forwarded-Host"]
	method, methodOK := one(r.Header["X-Forwarded-Method"])
	target, targetOK := one(r.Header["X-Forwarded-Uri"])
	if len(hosts) != 1 {
		return "", method, target, false
	}
	// A client of HTTP/1.0 need not name a host. Caddy and Traefik send a blank header then.
	return hosts[0], method, target, methodOK && targetOK
}

// ngfDialect reads what NGINX Gateway Fabric sets from nginx's variables. It sends no other headers of the client's.
func ngfDialect(r *http.Request) (host, method, target string, ok bool) {
	method, methodOK := one(r.Header["Method"])
	target, targetOK := one(r.Header["Path"])
	return r.Host, method, target, methodOK && targetOK
}

// one returns the value of a header, and false unless it is there exactly once and not empty.
func one(values []string) (string, bool) {
	if len(values) != 1 || values[0] == "" {
		return "", false
	}
	return values[0], true
}

// parseScopes parses the scopes in the URL that the proxy's configuration has, as in /auth/nginx?scope=products:read.
// All are required. It returns false if there is anything else in the query.
func parseScopes(query string) (scopes []keysv1alpha1.Scope, ok bool) {
	if query == "" {
		return nil, true
	}
	values, err := url.ParseQuery(query)
	if err != nil || len(values) != 1 {
		return nil, false
	}
	return access.ParseScopes(strings.Join(values["scope"], " "))
}
