package console

import (
	"context"
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

const ownHost = "127.0.0.1:8000"

// ask sends a request to a console by its own name, changed in some ways.
func ask(c *Console, method, path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	// A stream that is let in has no end.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader("{}"))
	r.Host = ownHost
	r.Header.Set("Content-Type", jsonKind)
	for _, change := range change {
		change(r)
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

func withSession(secret string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(ownHeader, secret) }
}

var sessionMeta = regexp.MustCompile(`<meta name="session" content="([^"]+)">`)

// TestOwn walks the way of the one user of Own, and of those who would be.
func TestOwn(t *testing.T) {
	if _, err := New(Options{Config: nowhere(), Own: true}); err == nil {
		t.Error("a console of its own credentials answers to every name")
	}
	c := newConsole(t, func(o *Options) { o.Own, o.Hosts, o.Namespace = true, []string{ownHost}, "shop" })
	link := c.StartPath()
	if w := ask(c, http.MethodGet, "/start/AAAA"); w.Code != http.StatusForbidden ||
		!strings.Contains(w.Body.String(), "kubectl apikey ui") {
		t.Errorf("a guessed link: %d", w.Code)
	}
	rebound := func(r *http.Request) { r.Host = "evil.example" }
	if w := ask(c, http.MethodGet, link, rebound); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("another name: %d", w.Code)
	}
	prefetch := func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch") }
	if w := ask(c, http.MethodGet, link, prefetch); w.Code != http.StatusNoContent {
		t.Errorf("a look ahead: %d", w.Code)
	}
	in := ask(c, http.MethodGet, link)
	if got := in.Header().Get("Referrer-Policy"); got != "no-referrer" {
		t.Errorf("the next page learns the link: %s", got)
	}
	found := sessionMeta.FindStringSubmatch(in.Body.String())
	if in.Code != http.StatusOK || found == nil || !strings.Contains(in.Body.String(), `data-path="/namespaces/shop"`) {
		t.Fatalf("the link: %d\n%s", in.Code, in.Body)
	}
	if w := ask(c, http.MethodGet, link); w.Code != http.StatusForbidden || sessionMeta.MatchString(w.Body.String()) {
		t.Errorf("the link once more: %d", w.Code)
	}
	secret := html.UnescapeString(found[1])
	if strings.Contains(link, secret) {
		t.Error("the link, which the browser's history keeps, has the session's secret")
	}
	// The API server can't be reached: users who are let in get 502.
	if w := ask(c, http.MethodGet, "/api/user", withSession(secret)); w.Code != http.StatusBadGateway {
		t.Errorf("who came by the link: %d %s", w.Code, w.Body)
	}
	const revoke = "/api/namespaces/shop/keys/a/revoke"
	if w := ask(c, http.MethodPost, revoke, withSession(secret)); w.Code != http.StatusBadGateway {
		t.Errorf("a change by who came by the link: %d %s", w.Code, w.Body)
	}
}

// TestOwnLetsNobodyElseIn asks for everything there is without the secret: whoever does gets pages without data, and no
// cookie is ever set, for browsers send those of one port to every other.
func TestOwnLetsNobodyElseIn(t *testing.T) {
	c := newConsole(t, func(o *Options) { o.Own, o.Hosts, o.Namespace = true, []string{ownHost}, "shop-of-somebody" })
	in := ask(c, http.MethodGet, c.StartPath())
	secret := html.UnescapeString(sessionMeta.FindStringSubmatch(in.Body.String())[1])
	answers := []*httptest.ResponseRecorder{in}
	strangers := map[string]func(*http.Request){
		"nothing":           func(*http.Request) {},
		"a guess":           withSession("AAAA"),
		"a part":            withSession(secret[1:]),
		"the secret, twice": func(r *http.Request) { r.Header[ownHeader] = []string{secret, secret} },
		"a cookie": func(r *http.Request) {
			for _, name := range []string{"apikey-session", sessionCookie, ownHeader} {
				r.AddCookie(&http.Cookie{Name: name, Value: secret})
			}
		},
		"a token": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret) },
		"a query": func(r *http.Request) { r.URL.RawQuery = "session=" + secret },
	}
	came := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	withSession(secret)(came)
	if !c.LetsIn(came) {
		t.Error("who came by the link doesn't keep the page open")
	}
	for name, change := range strangers {
		stranger := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		change(stranger)
		if name != "the secret, twice" && c.LetsIn(stranger) {
			t.Errorf("%s keeps the page open", name)
		}
		for _, path := range []string{
			"GET /api/user", "GET /api/namespaces", "GET /api/namespaces/shop/stream", "GET /api/namespaces/shop/form",
			"GET /api/namespaces/shop/keys/a",
			"POST /api/namespaces/shop/keys", "POST /api/namespaces/shop/keys/a/revoke",
		} {
			method, path, _ := strings.Cut(path, " ")
			w := ask(c, method, path, change)
			if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "kubectl apikey ui") {
				t.Errorf("%s: %s %s: %d %s", name, method, path, w.Code, w.Body)
			}
			answers = append(answers, w)
		}
		for _, path := range []string{
			"/", "/namespaces", "/namespaces/shop", "/namespaces/shop/keys/a", "/login", "/assets/session.js",
		} {
			w := ask(c, http.MethodGet, path, change)
			if strings.Contains(w.Body.String()+w.Header().Get("Location"), "shop-of-somebody") ||
				strings.Contains(w.Body.String(), secret) {
				t.Errorf("%s: %s has data", name, path)
			}
			answers = append(answers, w)
		}
	}
	for _, w := range answers {
		if cookies := w.Result().Cookies(); len(cookies) > 0 {
			t.Fatalf("a cookie %s is set", cookies[0].Name)
		}
	}
}
