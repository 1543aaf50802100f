package extauthz

import (
	"net/http"
	"strings"

	"github.com/nexuscommerce/apikey-operator/internal/authresponse"
	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	// Prefix is what the proxy puts in front of the client's path.
	Prefix = "/ext-authz"

	surfaceHTTP = "ext-authz"
	// headerToRemove makes Envoy remove headers from the request that it forwards.
	headerToRemove = "X-Envoy-Auth-Headers-To-Remove"
)

// HTTP answers Envoy's ext_authz filter with an http_service, and those implementations of the Gateway API's
// ExternalAuth filter that work like it.
type HTTP struct {
	decider Decider
	trust   clientip.Trust
	// always are the names of the headers that are removed from every allowed request.
	always string
}

// NewHTTP returns the handler for every path below Prefix. Don't put http.ServeMux in front of it, which redirects some
// requests. keepToken leaves the token on allowed requests.
func NewHTTP(decider Decider, trust clientip.Trust, keepToken bool) *HTTP {
	return &HTTP{decider: decider, trust: trust, always: strings.Join(alwaysRemoved(keepToken), ",")}
}

// ServeHTTP implements http.Handler.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The request line has what the client requested. A parsed URL no longer has its spelling.
	target, ok := strings.CutPrefix(r.RequestURI, Prefix)
	if !ok || !strings.HasPrefix(target, "/") {
		authresponse.Write(w, h.decider.Refuse(surfaceHTTP, verify.ReasonMisconfigured), r.Host)
		return
	}
	decision := h.decider.Decide(surfaceHTTP, &verify.Request{
		Authorization: r.Header["Authorization"],
		TenantID:      r.Header["X-Tenant-Id"],
		Connection:    r.Header["Connection"],
		Traceparent:   r.Header["Traceparent"],
		Host:          r.Host,
		Method:        r.Method,
		Target:        target,
		Client:        h.trust.ClientBehind(clientip.Peer(r.RemoteAddr), r.Header["X-Forwarded-For"]),
	})
	if decision.Outcome == verify.Allow {
		w.Header()[headerToRemove] = []string{h.toRemove(decision)}
	}
	authresponse.Write(w, decision, r.Host)
}

// toRemove returns the names of the headers that the upstream must not get from this client: those that are always
// removed, and identity headers without a value.
func (h *HTTP) toRemove(decision verify.Decision) string {
	names := []string{h.always}
	for i, header := range authresponse.Identity(decision) {
		if header.Value == "" {
			names = append(names, identityNames[i])
		}
	}
	return strings.Join(names, ",")
}
