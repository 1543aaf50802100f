package console

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
)

// api is an API server with one tenant and no keys.
type api struct {
	// most is how many keys the tenant may have.
	most atomic.Int64
	// grow raises that by one, with an event of the watch of tenants.
	grow chan struct{}
	// unwatched refuses that watch.
	unwatched bool
	// watches counts the requests for it.
	watches atomic.Int64
	// bars withdraws all rights to keys as soon as they are watched.
	bars   bool
	barred atomic.Bool
	// user is the name of every user; blank means jane.
	user string
}

// newAPI returns an API server whose tenant may have 20 keys.
func newAPI() *api {
	a := &api{grow: make(chan struct{}, 1)}
	a.most.Store(20)
	return a
}

// console returns a console that uses the API server.
func (a *api) console(t *testing.T, change func(*Options)) *Console {
	t.Helper()
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	return newConsole(t, func(o *Options) {
		o.Config = &rest.Config{Host: server.URL}
		if change != nil {
			change(o)
		}
	})
}

const (
	apiVersion = `"apiVersion":"keys.nexuscommerce.io/v1alpha1"`
	tenants    = "/apis/keys.nexuscommerce.io/v1alpha1/tenants"
)

func (a *api) tenant() string {
	return fmt.Sprintf(`{%s,"kind":"Tenant","metadata":{"name":"acme","resourceVersion":"%d"},`+
		`"spec":{"id":"1","state":"Active","maxKeys":%d,"namespaceSelector":{}}}`, apiVersion, a.most.Load(), a.most.Load())
}

// ServeHTTP implements http.Handler.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	watches := r.URL.Query().Get("watch") != ""
	switch r.URL.Path {
	case "/apis/authentication.k8s.io/v1/selfsubjectreviews":
		write(w, `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview","status":{"userInfo":{"username":%q}}}`,
			cmp.Or(a.user, "jane"))
	case "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
		write(w,
			`{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{},"status":{"allowed":%t}}`,
			!a.barred.Load())
	case "/api/v1/namespaces/shop":
		write(w, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`)
	case tenants:
		if watches {
			a.watchTenants(w, r)
			return
		}
		write(w, `{%s,"kind":"TenantList","metadata":{"resourceVersion":"1"},"items":[%s]}`, apiVersion, a.tenant())
	default:
		switch {
		case a.barred.Load():
			forbid(w)
		case watches:
			_ = http.NewResponseController(w).Flush()
			a.barred.Store(a.bars)
			<-r.Context().Done()
		default:
			write(w, `{%s,"kind":"ApiKeyList","metadata":{"resourceVersion":"1"},"items":[]}`, apiVersion)
		}
	}
}

// write writes a formatted answer.
func write(w http.ResponseWriter, format string, values ...any) {
	_, _ = fmt.Fprintf(w, format, values...)
}

// forbid answers as an API server does to users without the right.
func forbid(w http.ResponseWriter) {
	w.WriteHeader(http.StatusForbidden)
	write(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"Forbidden","code":403}`)
}

// watchTenants sends an event whenever the tenant has changed.
func (a *api) watchTenants(w http.ResponseWriter, r *http.Request) {
	a.watches.Add(1)
	if a.unwatched || r.URL.Query().Get("fieldSelector") != "metadata.name=acme" {
		forbid(w)
		return
	}
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case <-a.grow:
			a.most.Add(1)
			write(w, `{"type":"MODIFIED","object":%s}`, a.tenant())
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}
