package serving

import (
	"io"
	"net/http"
	"strings"

	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
	"github.com/nexuscommerce/apikey-operator/internal/surface/forward"
	"github.com/nexuscommerce/apikey-operator/internal/surface/introspect"
	"github.com/nexuscommerce/apikey-operator/internal/surface/review"
)

const (
	// introspectPath is what a ClusterRole of config/rbac is about.
	introspectPath = "/token/introspect"
	// reviewPath is where TokenReviews go; below it, by a tenant's ID, those for one tenant.
	reviewPath = "/token/review"
)

// routes are the verifier's URLs: one a dialect, and none that guesses. A path is compared byte by byte with what the proxy
// sent. http.ServeMux is no match for that: it decodes, answers an ambiguous path with a redirect, which some proxies hand
// on to the client, and takes CONNECT for a case of its own.
type routes struct {
	// exact are the handlers of one path each.
	exact map[string]http.Handler
	// review is the handler of reviewPath, and of each tenant's path below it.
	review *review.Handler
	// extAuthz is the handler of every path below extauthz.Prefix.
	extAuthz http.Handler
}

// NewRoutes returns the handler of all of the verifier's URLs.
func NewRoutes(o RouteOptions) http.Handler {
	reviews := review.NewHandler(o.Decider, o.ReviewAudiences)
	return &routes{
		exact: map[string]http.Handler{
			"/auth/nginx":   forward.NewNginx(o.Decider, o.Trust),
			"/auth/forward": forward.NewForward(o.Decider, o.Trust),
			"/auth/static":  forward.NewStatic(o.Decider, o.Trust),
			"/auth/ngf":     forward.NewNGF(o.Decider, o.Trust),
			introspectPath:  o.Guard.Protect(introspectPath, introspect.NewHandler(o.Decider)),
			reviewPath:      reviews,
		},
		review:   reviews,
		extAuthz: extauthz.NewHTTP(o.Decider, o.Trust, o.KeepToken),
	}
}

// ServeHTTP implements http.Handler.
func (r *routes) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	path, _, _ := strings.Cut(request.RequestURI, "?")
	if handler, ok := r.exact[path]; ok {
		handler.ServeHTTP(w, request)
		return
	}
	if tenant, ok := reviewedTenant(path); ok {
		r.review.For(tenant).ServeHTTP(w, request)
		return
	}
	if strings.HasPrefix(path, extauthz.Prefix+"/") {
		r.extAuthz.ServeHTTP(w, request)
		return
	}
	notFound(w)
}

// reviewedTenant returns the tenant whose reviews go to a path, if any do. The ID is compared as it was sent, too: one that is
// encoded is none.
func reviewedTenant(path string) (index.TenantID, bool) {
	id, ok := strings.CutPrefix(path, reviewPath+"/")
	if !ok {
		return index.TenantID{}, false
	}
	return index.ParseTenantID(id)
}

// notFound answers at a URL that isn't one of the verifier's. It's no refusal of a client's request, and nothing is decided:
// the proxy is set up wrongly, or whoever asks is none.
func notFound(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(w, `{"reason":"not_found","message":"The verifier has no such URL: see its documentation for one a dialect."}`+"\n")
}
