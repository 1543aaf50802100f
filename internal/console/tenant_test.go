package console

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// tenants is an API server with one tenant and no keys.
type tenants struct {
	most atomic.Int64
	// change has the tenant get one more key, and the watch of tenants tell of it.
	change chan struct{}
	// forbidden refuses that watch.
	forbidden bool
	asked     atomic.Int64
}

const version = `"apiVersion":"keys.nexuscommerce.io/v1alpha1"`

func (a *tenants) tenant() string {
	return fmt.Sprintf(`{%s,"kind":"Tenant","metadata":{"name":"acme"},"spec":{"id":"1","maxKeys":%d,"namespaceSelector":{}}}`, version, a.most.Load())
}

// ServeHTTP implements http.Handler.
func (a *tenants) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch watch := r.URL.Query().Get("watch") != ""; {
	case r.Method == http.MethodPost:
		fmt.Fprint(w, `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{},"status":{"allowed":true}}`)
	case r.URL.Path == "/api/v1/namespaces/shop":
		fmt.Fprint(w, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"shop"}}`)
	case r.URL.Path == "/apis/keys.nexuscommerce.io/v1alpha1/tenants" && watch:
		a.watch(w, r)
	case r.URL.Path == "/apis/keys.nexuscommerce.io/v1alpha1/tenants":
		fmt.Fprintf(w, `{%s,"kind":"TenantList","metadata":{},"items":[%s]}`, version, a.tenant())
	case watch:
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	default:
		fmt.Fprintf(w, `{%s,"kind":"ApiKeyList","metadata":{"resourceVersion":"1"},"items":[]}`, version)
	}
}

// watch tells of the tenant whenever it has changed.
func (a *tenants) watch(w http.ResponseWriter, r *http.Request) {
	a.asked.Add(1)
	if a.forbidden {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"Forbidden","code":403}`)
		return
	}
	if got := r.URL.Query().Get("fieldSelector"); got != "metadata.name=acme" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case <-a.change:
			a.most.Add(1)
			fmt.Fprintf(w, `{"type":"MODIFIED","object":%s}`, a.tenant())
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// follow reads the stream of a namespace, and hands each quota that it tells of to a function until that has enough.
func follow(t *testing.T, a *tenants, lookEvery time.Duration, enough func(int) bool) {
	t.Helper()
	api := httptest.NewServer(a)
	t.Cleanup(api.Close)
	c := newConsole(t, func(o *Options) {
		o.Config, o.Header = &rest.Config{Host: api.URL}, true
	})
	c.lookEvery = lookEvery
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	t.Cleanup(c.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/namespaces/shop/stream", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer somebody's")
	answer, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		var told line
		if err := json.Unmarshal(lines.Bytes(), &told); err != nil {
			t.Fatal(err)
		}
		if told.Problem != nil {
			t.Fatalf("%+v", told.Problem)
		}
		if told.Tenant != nil && enough(told.Tenant.Most) {
			return
		}
	}
	t.Fatalf("the stream has ended: %v", lines.Err())
}

// TestTenantIsLive changes a tenant while the page is open that would be looked at once an hour only. It does so more than once: as
// soon as all keys are listed there is a look by itself.
func TestTenantIsLive(t *testing.T) {
	a := &tenants{change: make(chan struct{}, 1)}
	a.most.Store(20)
	follow(t, a, time.Hour, func(most int) bool {
		a.change <- struct{}{}
		return most == 23
	})
}

// TestTenantWithoutWatch does so under the eyes of who may list tenants and not watch them: theirs is looked at every now and then.
func TestTenantWithoutWatch(t *testing.T) {
	a := &tenants{forbidden: true}
	a.most.Store(20)
	follow(t, a, 10*time.Millisecond, func(most int) bool { return a.most.Add(1) > 23 && a.asked.Load() > 0 })
}
