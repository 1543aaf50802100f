package console

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestHeadersOfEveryAnswer(t *testing.T) {
	c := newConsole(t, nil)
	for path, status := range map[string]int{
		"/login": http.StatusOK, "/": http.StatusSeeOther, "/namespaces/shop": http.StatusSeeOther,
		"/assets/app.js":  http.StatusOK,
		"/assets/none.js": http.StatusNotFound, "/assets/..%2fdoc.go": http.StatusNotFound,
		"/api/namespaces/shop/stream": http.StatusUnauthorized,
		"/api/namespaces/shop/keys/a": http.StatusUnauthorized, "/start/x": http.StatusSeeOther,
		"/nothing": http.StatusSeeOther,
	} {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		if w.Code != status {
			t.Errorf("%s: %d, want %d", path, w.Code, status)
		}
		for header, want := range map[string]string{
			"Cache-Control": "no-store", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy":            "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := w.Header().Values(header); !slices.Equal(got, []string{want}) {
				t.Errorf("%s: %s %q", path, header, got)
			}
		}
		if kind := w.Header().Get("Content-Type"); status == http.StatusOK && kind != "text/html; charset=utf-8" &&
			kind != "text/javascript; charset=utf-8" {
			t.Errorf("%s: Content-Type %q", path, kind)
		}
		checkPolicy(t, path, w.Header().Values("Content-Security-Policy"))
	}
}

// checkPolicy checks that a page may load and run nothing except its own files, and that nobody may show it within
// another page.
func checkPolicy(t *testing.T, path string, sent []string) {
	t.Helper()
	if len(sent) != 1 {
		t.Errorf("%s: Content-Security-Policy %q", path, sent)
		return
	}
	got := map[string]string{}
	for part := range strings.SplitSeq(sent[0], ";") {
		directive, sources, _ := strings.Cut(strings.TrimSpace(part), " ")
		got[directive] = sources
	}
	if want := map[string]string{
		"default-src":               "'none'",
		"script-src":                "'self'",
		"style-src":                 "'self'",
		"img-src":                   "'self'",
		"connect-src":               "'self'",
		"form-action":               "'self'",
		"base-uri":                  "'none'",
		"frame-ancestors":           "'none'",
		"require-trusted-types-for": "'script'",
		"trusted-types":             "'none'",
	}; !maps.Equal(got, want) {
		t.Errorf("%s: Content-Security-Policy %q", path, got)
	}
}

// TestFirstPageIsSmall adds up what a browser loads before it shows the list.
func TestFirstPageIsSmall(t *testing.T) {
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += int(info.Size())
	}
	w := httptest.NewRecorder()
	newConsole(t, nil).pages.write(w, http.StatusOK, "keys", &keysPage{page: page{Title: "x"}, Namespace: "shop"})
	if total += w.Body.Len(); total >= 100_000 {
		t.Errorf("%d bytes", total)
	}
}

// TestNothingInline checks that pages have no script, style or handler written into them, whatever is filled in.
func TestNothingInline(t *testing.T) {
	c := newConsole(t, nil)
	evil := `"><script>alert(1)</script>`
	for name, content := range map[string]any{
		"keys": &keysPage{
			page: page{Title: evil, User: evil, CSRF: evil, Out: true}, Namespace: evil, Key: evil, States: []string{evil},
		},
		"login": &loginPage{page: page{Title: evil}, Next: evil, Namespace: evil, Problem: evil},
		"namespaces": &namespacesPage{
			page: page{User: evil}, Known: []knownNamespace{{evil, evil, pathOf(evil)}}, Problem: evil,
		},
		"message": &messagePage{Message: evil},
		"again":   &againPage{Path: "/namespaces"},
	} {
		w := httptest.NewRecorder()
		c.pages.write(w, http.StatusOK, name, content)
		html := w.Body.String()
		if w.Code != http.StatusOK {
			t.Errorf("%s: status %d", name, w.Code)
		}
		for _, never := range []string{"alert(1)</script>", "<style", "style=", "onclick=", "<script>", "javascript:"} {
			if strings.Contains(html, never) {
				t.Errorf("%s has %s:\n%s", name, never, html)
			}
		}
	}
}

func TestOtherSites(t *testing.T) {
	for name, test := range map[string]struct {
		method, path string
		headers      map[string]string
		status       int
	}{
		"a form of another site": {
			http.MethodPost, "/login", map[string]string{"Sec-Fetch-Site": "cross-site"}, http.StatusForbidden,
		},
		"another port of this machine": {
			http.MethodPost, "/login", map[string]string{"Sec-Fetch-Site": "same-site"}, http.StatusForbidden,
		},
		"an old browser, another site": {
			http.MethodPost, "/api/namespaces/shop/keys",
			map[string]string{"Origin": "https://evil.example", "Content-Type": jsonKind}, http.StatusForbidden,
		},
		"a script of another site": {
			http.MethodGet, "/api/namespaces/shop/stream",
			map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}, http.StatusForbidden,
		},
		"a script of another port": {
			http.MethodGet, "/api/namespaces/shop/stream",
			map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, http.StatusForbidden,
		},
		"a script of another port, in a browser that doesn't say so": {
			http.MethodPost, "/api/namespaces/shop/keys",
			map[string]string{"Origin": "http://example.com:8001", "Content-Type": jsonKind}, http.StatusForbidden,
		},
		"a frame of another port": {
			http.MethodGet, "/login",
			map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
			http.StatusForbidden,
		},
		"a frame of another site": {
			http.MethodGet, "/login",
			map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
			http.StatusForbidden,
		},
		"a link of another site": {
			http.MethodGet, "/login",
			map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
			http.StatusOK,
		},
		"a link without our cookies": {
			http.MethodGet, "/namespaces/shop",
			map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
			http.StatusOK,
		},
		"our own form, without a token": {
			http.MethodPost, "/login", map[string]string{"Sec-Fetch-Site": "same-origin"}, http.StatusForbidden,
		},
		"a log-out without a token": {
			http.MethodPost, "/logout", map[string]string{"Sec-Fetch-Site": "same-origin"}, http.StatusForbidden,
		},
	} {
		r := httptest.NewRequest(test.method, test.path, http.NoBody)
		r.Header.Set("Content-Type", formKind)
		for header, value := range test.headers {
			r.Header.Set(header, value)
		}
		w := httptest.NewRecorder()
		newConsole(t, nil).ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("%s: %d, want %d", name, w.Code, test.status)
		}
	}
}

// TestKindsOfBodies checks that a body counts only as what its sender says that it is: a form of another site can't be
// JSON.
func TestKindsOfBodies(t *testing.T) {
	const key = "/api/namespaces/shop/keys"
	c := newConsole(t, nil)
	for _, test := range []struct {
		path  string
		kinds []string
		taken bool
	}{
		{key, []string{jsonKind}, true},
		{key, []string{"Application/JSON; charset=utf-8"}, true},
		{key, nil, false},
		{key, []string{""}, false},
		{key, []string{formKind}, false},
		{key, []string{"multipart/form-data; boundary=x"}, false},
		{key, []string{"text/plain"}, false},
		{key, []string{"text/plain; a=application/json"}, false},
		{key, []string{"application/json-seq"}, false},
		{key, []string{jsonKind, "text/plain"}, false},
		{key + "/a/revoke", []string{jsonKind}, true},
		{key + "/a/revoke", []string{"text/plain"}, false},
		{"/login", []string{formKind}, true},
		{"/login", []string{jsonKind}, false},
		{"/logout", []string{formKind}, true},
		{"/logout", []string{"text/plain"}, false},
	} {
		r := httptest.NewRequest(http.MethodPost, test.path, strings.NewReader("{}"))
		r.Header["Content-Type"] = test.kinds
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if refused := w.Code == http.StatusUnsupportedMediaType; refused == test.taken ||
			refused && !strings.Contains(w.Body.String(), "Content-Type: application/") {
			t.Errorf("POST %s as %q: %d %s", test.path, test.kinds, w.Code, w.Body)
		}
	}
}
