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
	// introspectPath is the path that a ClusterRole in config/rbac grants access to.
	introspectPath = "/token/introspect"
	// reviewPath is the path for TokenReviews. Below it, each tenant's ID is the path for reviews for that tenant alone.
	reviewPath = "/token/review"
)

// routes are the verifier's URLs: one for each dialect, and none that guesses. The path is compared byte by byte with
// what the proxy sent. http.ServeMux doesn't do that: it decodes paths, answers ambiguous ones with redirects, which
// some proxies pass on to the client, and treats CONNECT specially.
type routes struct {
	// exact has the handlers for single paths.
	exact map[string]http.Handler
	// review handles reviewPath, and each tenant's path below it.
	review *review.Handler
	// extAuthz handles every path below extauthz.Prefix.
	extAuthz http.Handler
}

// NewRoutes returns the handler for all of the verifier's URLs.
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

// reviewedTenant returns the tenant whose reviews a path is for, if any. The ID is not decoded: an encoded one doesn't
// match.
func reviewedTenant(path string) (index.TenantID, bool) {
	id, ok := strings.CutPrefix(path, reviewPath+"/")
	if !ok {
		return index.TenantID{}, false
	}
	return index.ParseTenantID(id)
}

// notFound answers at any other URL. It decides nothing, so it is not a refusal: the proxy is misconfigured, or the
// caller is not a proxy.
func notFound(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(
		w, `{"reason":"not_found","message":"The verifier has no such URL: see its documentation for one a dialect."}`+"\n",
	)
}
