package console

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// logIn sends a log-in from a browser that has opened the form, with the nonce of the form.
func logIn(t *testing.T, c *Console, query string, fields url.Values) *httptest.ResponseRecorder {
	t.Helper()
	opened := httptest.NewRecorder()
	c.ServeHTTP(opened, httptest.NewRequest(http.MethodGet, "/login", http.NoBody))
	r := withCookies(opened, http.MethodGet, "/")
	nonce, err := r.Cookie(visitCookie)
	if err != nil {
		t.Fatal(err)
	}
	fields.Set("csrf", c.seal.proof(nonce.Value))
	r = httptest.NewRequest(http.MethodPost, "/login"+query, strings.NewReader(fields.Encode()))
	r.AddCookie(nonce)
	r.Header.Set("Content-Type", formKind)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// hasSession reports whether an answer sets a session's cookie.
func hasSession(c *Console, w *httptest.ResponseRecorder) bool {
	_, err := c.session(withCookies(w, http.MethodGet, "/"))
	return err == nil
}

// TestLogIn signs in, and tries to where a token is none, or stands where it could be read.
func TestLogIn(t *testing.T) {
	c := newAPI().console(t, nil)
	if w := logIn(t, c, "", url.Values{"token": {"good"}}); w.Code != http.StatusSeeOther || !hasSession(c, w) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	key, err := token.New(rand.Reader, token.FormatLive)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		query string
		given string
		says  string
	}{
		"a token in the URL":           {"?token=good", "", "Paste the token"},
		"an API key":                   {"", key.Reveal(), "That is an API key"},
		"more than a cookie may hold":  {"", strings.Repeat("t", maxToken+1), "That is no token"},
		"more than anybody would send": {"", strings.Repeat("t", maxBody), "The form can't be read."},
	} {
		fields := url.Values{}
		if test.given != "" {
			fields.Set("token", test.given)
		}
		w := logIn(t, c, test.query, fields)
		if w.Code < 400 || !strings.Contains(w.Body.String(), test.says) || hasSession(c, w) {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

// TestWhoIsWho checks what says who somebody is that has no session: the header, where it is asked for, and never the
// URL. Whom it names has nothing to sign in to.
func TestWhoIsWho(t *testing.T) {
	for name, test := range map[string]struct {
		header        bool
		authorization string
		path          string
		status        int
		leads         string
	}{
		"nobody": {
			true, "", "/namespaces/shop", http.StatusSeeOther, "/login?next=%2Fnamespaces%2Fshop",
		},
		"a header": {true, "Bearer good", "/namespaces/shop", http.StatusOK, ""},
		"a header that nobody asks of": {
			false, "Bearer good", "/namespaces/shop", http.StatusSeeOther, "/login?next=%2Fnamespaces%2Fshop",
		},
		"another kind of header": {
			true, "Basic Z29vZA==", "/namespaces/shop", http.StatusSeeOther, "/login?next=%2Fnamespaces%2Fshop",
		},
		"a token in the URL": {
			true, "", "/namespaces/shop?token=good", http.StatusSeeOther, "/login?next=%2Fnamespaces%2Fshop",
		},
		"as OAuth once had it": {
			true, "", "/namespaces/shop?access_token=good", http.StatusSeeOther, "/login?next=%2Fnamespaces%2Fshop",
		},
		"the form, by header": {
			true, "Bearer good", "/login?next=/namespaces/shop&why=expired", http.StatusSeeOther, "/namespaces/shop",
		},
		"the form, and nowhere to go": {true, "Bearer good", "/login?next=//evil.example", http.StatusSeeOther, "/"},
		"the form, by nobody":         {true, "", "/login", http.StatusOK, ""},
	} {
		c := newAPI().console(t, func(o *Options) { o.Header = test.header })
		r := httptest.NewRequest(http.MethodGet, test.path, http.NoBody)
		if test.authorization != "" {
			r.Header.Set("Authorization", test.authorization)
		}
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code != test.status || w.Header().Get("Location") != test.leads {
			t.Errorf("%s: %d %s", name, w.Code, w.Header().Get("Location"))
		}
	}
}

// TestNobodyIsAnonymous signs in at an API server that accepts every token as the anonymous user.
func TestNobodyIsAnonymous(t *testing.T) {
	a := newAPI()
	a.user = anonymous
	c := a.console(t, behindProxy)
	if w := logIn(t, c, "", url.Values{"token": {"good"}}); w.Code != http.StatusUnauthorized || hasSession(c, w) {
		t.Errorf("by the form: %d %s", w.Code, w.Body)
	}
	r := proxied()
	r.URL.Path = "/namespaces/shop"
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), anonymous) {
		t.Errorf("by a proxy: %d %s", w.Code, w.Body)
	}
}

// TestLogOut checks that every cookie of the session is deleted.
func TestLogOut(t *testing.T) {
	c := newAPI().console(t, nil)
	in := logIn(t, c, "", url.Values{"token": {strings.Repeat("t", maxToken)}})
	r := withCookies(in, http.MethodGet, "/")
	nonce, err := r.Cookie(visitCookie)
	if err != nil {
		t.Fatal(err)
	}
	out := httptest.NewRequest(http.MethodPost, "/logout", strings.NewReader("csrf="+c.seal.proof(nonce.Value)))
	out.Header = r.Header.Clone()
	out.Header.Set("Content-Type", formKind)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, out)
	forgotten := map[string]bool{}
	for _, cookie := range w.Result().Cookies() {
		forgotten[cookie.Name] = cookie.MaxAge < 0 && cookie.Value == ""
	}
	for _, cookie := range in.Result().Cookies() {
		if cookie.Name != visitCookie && !forgotten[cookie.Name] {
			t.Errorf("%s stays", cookie.Name)
		}
	}
	if w.Code != http.StatusSeeOther || len(forgotten) < 2 {
		t.Errorf("%d %v", w.Code, forgotten)
	}
}
