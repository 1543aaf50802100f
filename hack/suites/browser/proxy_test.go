package browser_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-rod/rod/lib/proto"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// proxy stands for a proxy that signs users in with OpenID Connect, such as oauth2-proxy: it removes what a request
// says about its user, and adds who is signed in.
type proxy struct{ token atomic.Pointer[string] }

// signIn makes all further requests those of one user. A blank token is no user's.
func (p *proxy) signIn(token string) { p.token.Store(&token) }

// startProxy starts a proxy in front of a console, over TLS, with nobody signed in, and returns its address.
func startProxy(t *testing.T, console string) (p *proxy, address string) {
	t.Helper()
	target, err := url.Parse("http://" + console)
	if err != nil {
		t.Fatal(err)
	}
	p = &proxy{}
	p.signIn("")
	server := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
		r.Out.Header.Del("Authorization")
		if token := *p.token.Load(); token != "" {
			r.Out.Header.Set("Authorization", "Bearer "+token)
		}
	}})
	t.Cleanup(server.Close)
	return p, server.URL
}

// comesByProxy uses the page with users whom a proxy has signed in: first one person, then another in the same browser,
// then nobody.
func (e *environment) comesByProxy(t *testing.T) {
	address, console := e.runConsole(t, "--insecure-plain-text", "--authorization-header")
	p, outside := startProxy(t, address)
	behind := *e
	behind.url = outside
	s := behind.open(t, wide, light)
	// This matches 401 and 403, below.
	s.expected = append(s.expected, "network: Failed to load resource: the server responded with a status of 40")
	s.open("/")
	s.find("heading", "Sign in")

	p.signIn(e.alice.token)
	s.open("/namespaces/" + warehouse)
	s.isProxied(e.alice)
	s.row("storefront", "Active")
	s.state("proxied")
	token := s.makes("By Proxy", "products:read")
	e.calls(t, token, acmeID, http.MethodGet, "/api/products", http.StatusOK)
	s.keepSource("behind a proxy")
	s.revokes("By Proxy", "by-proxy")
	e.calls(t, token, acmeID, http.MethodGet, "/api/products", http.StatusUnauthorized)

	e.othersByProxy(t, s, p)
	e.forgesProxy(t, s, p, address)
	e.evidence.keep("the log of the console behind a proxy", console.Log())
}

// isProxied checks that a person uses the page without having signed in to it.
func (s *browserSession) isProxied(who person) {
	s.t.Helper()
	s.find("heading", "API Keys")
	s.settles()
	s.reads("Signed in as " + who.name)
	s.hasNone("Sign out") // The proxy has that.
	cookies, err := proto.StorageGetCookies{BrowserContextID: s.browser.BrowserContextID}.Call(s.browser)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, cookie := range cookies.Cookies {
		if strings.HasPrefix(cookie.Name, "__Host-apikey-session") && cookie.Value != "" {
			s.t.Errorf("cookie %s keeps a session", cookie.Name)
		}
	}
}

// othersByProxy changes the user in the proxy's header: nothing of the first user is the second's, not even a page that
// is still open or a sign-in with the form.
func (e *environment) othersByProxy(t *testing.T, s *browserSession, p *proxy) {
	p.signIn(e.victor.token)
	if status := s.post("keys/storefront/suspend", `{}`); status != http.StatusForbidden {
		t.Errorf("who may only view, at the page of who may more: %d", status)
	}
	s.open("/login") // The page leads here when a token has ended. There is no form.
	s.open("/namespaces/" + warehouse)
	s.isProxied(e.victor)
	s.row("storefront", "Active")
	s.hasNone("Generate New Key", "Revoke Storefront")

	p.signIn("")
	s.open("/namespaces/" + warehouse)
	s.find("heading", "Sign in")
	if names := s.names(); len(names) > 0 {
		t.Errorf("nobody sees %q", names)
	}
	s.signIn(e.alice, warehouse) // If the proxy lets people through whom it has not signed in.
	s.reads("Signed in as " + e.alice.name)
	p.signIn(e.victor.token)
	s.open("/namespaces/" + warehouse)
	s.reads("Signed in as " + e.victor.name)
	s.hasNone("Generate New Key", "Revoke Storefront", "Sign out")
	p.signIn("")
	s.open("/namespaces/" + warehouse)
	s.reads("Signed in as " + e.alice.name)
	s.click("button", "Sign out")
	s.find("heading", "Sign in")
}

// forgesProxy tries to get in with a forged header: through the proxy, which removes it; past the proxy, where the API
// server does not know the token; and with other headers of proxies, which nobody should trust.
func (e *environment) forgesProxy(t *testing.T, s *browserSession, p *proxy, console string) {
	p.signIn(e.victor.token)
	s.open("/namespaces/" + warehouse)
	s.isProxied(e.victor)
	status := s.eval(`async () => (await fetch("/api/namespaces/warehouse/keys/storefront/suspend", {method: "POST",
	  body: "{}",
		headers: {"Authorization": "Bearer forged", "Content-Type": "application/json",
			"X-CSRF-Token": document.querySelector("meta[name=csrf-token]").content}})).status`).Int()
	if status != http.StatusForbidden {
		t.Errorf("with a header of one's own, through the proxy: %d", status) // The user is still victor.
	}
	if state := e.key(t, warehouse, "storefront").Spec.State; state != keysv1alpha1.ApiKeyActive {
		t.Errorf("it is %s", state)
	}
	for header, want := range map[string]int{"": http.StatusSeeOther, "Bearer forged": http.StatusUnauthorized,
		"Basic Zm9yZ2Vk": http.StatusSeeOther} {
		if got := e.status(t, "http://"+console+"/namespaces/"+warehouse, header); got != want {
			t.Errorf("past the proxy with Authorization: %q: %d, not %d", header, got, want)
		}
		if got := e.status(t, "http://"+console+"/api/namespaces/warehouse/keys/storefront",
			header); got != http.StatusUnauthorized {
			t.Errorf("a key past the proxy with Authorization: %q: %d", header, got)
		}
	}
	p.signIn("forged")
	for _, path := range []string{"/login", "/namespaces/" + warehouse} {
		s.open(path)
		s.find("heading", "The cluster does not know you")
	}
	s.state("proxied-unknown")
	p.signIn(e.alice.token)
	s.open("/namespaces/" + warehouse)
	s.isProxied(e.alice)
	e.kubectl(t, "delete", "apikey", "-n", warehouse, "by-proxy")
}

// status requests a page with an Authorization header, and returns the status.
func (e *environment) status(t *testing.T, address, header string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if header != "" {
		request.Header.Set("Authorization", header)
	}
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", address, err))
	}
	defer answer.Body.Close()
	return answer.StatusCode
}
