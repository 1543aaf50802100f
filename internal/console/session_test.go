package console

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// nowhere is an API server that can't be reached, with credentials that must never be sent.
func nowhere() *rest.Config {
	return &rest.Config{Host: "http://127.0.0.1:1", BearerToken: "the-program's-own"}
}

func newConsole(t *testing.T, change func(*Options)) *Console {
	t.Helper()
	o := Options{Config: nowhere(), Key: []byte(strings.Repeat("k", minKey))}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// withCookies returns a request with the cookies that an answer has set.
func withCookies(answer *httptest.ResponseRecorder, method, path string) *http.Request {
	r := httptest.NewRequest(method, path, http.NoBody)
	for _, cookie := range answer.Result().Cookies() {
		if cookie.MaxAge >= 0 {
			r.AddCookie(cookie)
		}
	}
	return r
}

func TestSession(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := newConsole(t, func(o *Options) { o.Now = func() time.Time { return now } })
	for name, length := range map[string]int{"a short token": 20, "one cookie's worth": 2000, "the longest": maxToken} {
		t.Run(name, func(t *testing.T) {
			token := strings.Repeat("t", length)
			w := httptest.NewRecorder()
			begun := &session{Token: token, User: "jane@shop", Namespace: "shop", Ends: now.Add(time.Hour)}
			if err := c.begin(w, begun); err != nil {
				t.Fatal(err)
			}
			for _, cookie := range w.Result().Cookies() {
				if !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" ||
					cookie.MaxAge > 0 {
					t.Errorf("cookie %s", cookie.String())
				}
				if strings.Contains(cookie.Value, "tttttttt") || strings.Contains(cookie.Value, "jane@shop") {
					t.Errorf("cookie %s can be read", cookie.Name)
				}
				if len(cookie.Name)+len(cookie.Value) > 4000 {
					t.Errorf("cookie %s has %d bytes, which browsers don't take", cookie.Name, len(cookie.Value))
				}
			}
			s, err := c.session(withCookies(w, http.MethodGet, "/"))
			if err != nil || s.Token != token || s.User != "jane@shop" || s.Namespace != "shop" {
				t.Fatalf("%+v, %v", s, err)
			}
		})
	}
}

// TestLogInIsANewVisit checks that what was known of a browser's visit before a log-in is of no use after it.
func TestLogInIsANewVisit(t *testing.T) {
	c := newConsole(t, nil)
	var seen []string
	for range 2 {
		w := httptest.NewRecorder()
		if err := c.begin(w, &session{Token: "t"}); err != nil {
			t.Fatal(err)
		}
		nonce, err := withCookies(w, http.MethodGet, "/").Cookie(visitCookie)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, nonce.Value)
	}
	if seen[0] == seen[1] || len(seen[0]) < 20 {
		t.Errorf("%q", seen)
	}
}

func TestSessionEnds(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	c := newConsole(t, func(o *Options) { o.Now = clock })
	w := httptest.NewRecorder()
	if err := c.begin(w, &session{Token: "t", Ends: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	replica := newConsole(t, func(o *Options) { o.Now = clock })
	if _, err := replica.session(withCookies(w, http.MethodGet, "/")); err != nil {
		t.Errorf("another replica with the same key: %v", err)
	}
	other := newConsole(t, func(o *Options) { o.Now, o.Key = clock, nil })
	if _, err := other.session(withCookies(w, http.MethodGet, "/")); !errors.Is(err, errEnded) {
		t.Errorf("a replica with another key: %v", err)
	}
	forged := withCookies(w, http.MethodGet, "/")
	forged.Header.Set("Cookie", strings.Replace(forged.Header.Get("Cookie"), sessionCookie+"=", sessionCookie+"=A", 1))
	if _, err := c.session(forged); !errors.Is(err, errEnded) {
		t.Errorf("a cookie that was changed: %v", err)
	}
	now = now.Add(time.Hour)
	if _, err := c.session(withCookies(w, http.MethodGet, "/")); !errors.Is(err, errEnded) {
		t.Errorf("after its end: %v", err)
	}
	if _, err := c.session(httptest.NewRequest(http.MethodGet, "/", http.NoBody)); !errors.Is(err, errNobody) {
		t.Errorf("without a cookie: %v", err)
	}
}

func TestSealIsForOnePurpose(t *testing.T) {
	s, err := newSealer([]byte(strings.Repeat("k", minKey)))
	if err != nil {
		t.Fatal(err)
	}
	text := s.seal("one", []byte("content"))
	if content, err := s.open("one", text); err != nil || string(content) != "content" {
		t.Errorf("%q, %v", content, err)
	}
	for _, forged := range []struct{ purpose, text string }{{"two", text}, {"one", text[1:]}, {"one", ""}, {"one", "?"}} {
		if content, err := s.open(forged.purpose, forged.text); !errors.Is(err, errBroken) {
			t.Errorf("%v: %q, %v", forged, content, err)
		}
	}
	if _, err := newSealer(make([]byte, minKey-1)); err == nil {
		t.Error("a key that is too short is taken")
	}
}

func TestLocal(t *testing.T) {
	for next, want := range map[string]string{
		"/namespaces":                    "/namespaces",
		"/namespaces/shop":               "/namespaces/shop",
		"/namespaces/shop/keys/a.b":      "/namespaces/shop/keys/a.b",
		"/namespaces/a%20b":              "/namespaces/a%20b",
		"":                               "",
		"/":                              "",
		"/logout":                        "",
		"//evil.example":                 "",
		"//evil.example/namespaces/shop": "",
		"https://evil.example":           "",
		"https:///namespaces":            "",
		"/namespaces/../logout":          "",
		`/\evil.example`:                 "",
		"javascript:alert(1)":            "",
		"namespaces":                     "",
		"/namespaces/shop?next=x#y":      "/namespaces/shop",
	} {
		if got := ownPath(next); got != want {
			t.Errorf("%s: %q, want %q", next, got, want)
		}
	}
}

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc": "abc",
		"bearer abc": "abc",
		"Basic abc":  "",
		"Bearer":     "",
		"Bearer ":    "",
		"Bearer a b": "",
		"Bearer a,b": "",
		"Bearer " + strings.Repeat("a", maxToken+1): "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r.Header.Set("Authorization", header)
		if got := bearer(r); got != want {
			t.Errorf("%.30s: %q", header, got)
		}
	}
	twice := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	twice.Header["Authorization"] = []string{"Bearer a", "Bearer b"}
	if got := bearer(twice); got != "" {
		t.Errorf("two headers: %q", got)
	}
}

// TestNoCredentialsOfItsOwn checks that the program's own credentials are never sent.
func TestNoCredentialsOfItsOwn(t *testing.T) {
	c := newConsole(t, nil)
	if c.config.BearerToken != "" || c.config.Host != nowhere().Host {
		t.Errorf("config %v", c.config)
	}
	if client, err := c.clientOf(""); !errors.Is(err, errNobody) || client != nil {
		t.Errorf("nobody's client: %v", err)
	}
}
