package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// replicas are consoles that find one another, with a shared clock.
type replicas struct {
	t   *testing.T
	mu  sync.Mutex
	now time.Time
	// addresses are those that each of them finds.
	addresses []string
	servers   []*httptest.Server
}

func newReplicas(t *testing.T) *replicas {
	return &replicas{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (r *replicas) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *replicas) find(context.Context) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addresses, nil
}

func (r *replicas) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// start starts a replica, which asks the others first.
func (r *replicas) start(key string) *Console {
	r.t.Helper()
	c := newConsole(r.t, func(o *Options) {
		o.Now, o.Peers, o.Hosts, o.Key = r.clock, r.find, []string{"keys.example"}, []byte(strings.Repeat(key, minKey))
	})
	_ = c.peers.pull(r.t.Context()) // The first has nobody to ask.
	server := httptest.NewTLSServer(c)
	r.t.Cleanup(server.Close)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addresses = append(r.addresses, server.Listener.Addr().String())
	r.servers = append(r.servers, server)
	return c
}

// signsIn returns an answer with the cookies of a new session.
func signsIn(t *testing.T, c *Console) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	if err := c.begin(w, &session{Token: "t", User: "jane", Ends: c.options.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	return w
}

// signsOut submits the form that signs a browser out.
func signsOut(t *testing.T, c *Console, browser *httptest.ResponseRecorder) *httptest.ResponseRecorder {
	t.Helper()
	r := withCookies(browser, http.MethodPost, "/logout")
	nonce, err := r.Cookie(visitCookie)
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"csrf": {c.seal.proof(nonce.Value)}}.Encode()
	r.Body, r.Host = io.NopCloser(strings.NewReader(form)), "keys.example"
	r.Header.Set("Content-Type", formKind)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// wantCookie checks whether a copy of a browser's cookies is accepted. The API server can't be reached, so an accepted
// request gets 502, and a refused one 401.
func wantCookie(t *testing.T, what string, c *Console, browser *httptest.ResponseRecorder, works bool) {
	t.Helper()
	r := withCookies(browser, http.MethodGet, "/api/namespaces/shop/keys/a")
	r.Host = "keys.example"
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	want := http.StatusUnauthorized
	if works {
		want = http.StatusBadGateway
	}
	if w.Code != want {
		t.Errorf("%s: %d, want %d: %s", what, w.Code, want, w.Body)
	}
}

// TestSigningOutEndsTheSession copies a cookie and signs out: the copy is refused by every replica, by one that starts
// later, and by all of them once they have started again. Another session of the same user goes on.
func TestSigningOutEndsTheSession(t *testing.T) {
	r := newReplicas(t)
	first, second := r.start("k"), r.start("k")
	r.pass(time.Second)
	browser, other := signsIn(t, first), signsIn(t, second)
	wantCookie(t, "at the other replica", second, browser, true)

	if w := signsOut(t, first, browser); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/login" {
		t.Errorf("signing out: %d %s", w.Code, w.Body)
	}
	for i, c := range []*Console{first, second} {
		wantCookie(t, fmt.Sprint("a copy at replica ", i), c, browser, false)
		wantCookie(t, fmt.Sprint("another session at replica ", i), c, other, true)
	}
	r.pass(time.Second)
	third := r.start("k")
	wantCookie(t, "a copy at one that starts later", third, browser, false)
	wantCookie(t, "another session at one that starts later", third, other, true)

	r.addresses = nil // All end, and none is left to ask.
	r.pass(time.Second)
	anew := r.start("k")
	wantCookie(t, "a copy after all have started anew", anew, browser, false)
	wantCookie(t, "a session from before, of which nobody knows any more", anew, other, false)
}

// TestSigningOutOfOne checks signing out at the only replica, which finds no others.
func TestSigningOutOfOne(t *testing.T) {
	c := newConsole(t, func(o *Options) { o.Hosts = []string{"keys.example"} })
	browser := signsIn(t, c)
	wantCookie(t, "a session", c, browser, true)
	if w := signsOut(t, c, browser); w.Code != http.StatusSeeOther {
		t.Errorf("signing out: %d", w.Code)
	}
	wantCookie(t, "a copy", c, browser, false)
	if w := signsOut(t, c, browser); w.Code != http.StatusSeeOther {
		t.Errorf("signing out once more: %d", w.Code)
	}
}

// TestSigningOutSaysWhatItCouldNotDo signs out while a replica does not answer: the page says so, and the replica
// learns of it when it asks the others.
func TestSigningOutSaysWhatItCouldNotDo(t *testing.T) {
	r := newReplicas(t)
	first, second := r.start("k"), r.start("k")
	browser := signsIn(t, first)
	r.servers[1].Close()
	if w := signsOut(t, first, browser); w.Code != http.StatusBadGateway ||
		!strings.Contains(w.Body.String(), "Not every replica") {
		t.Errorf("signing out: %d %s", w.Code, w.Body)
	}
	wantCookie(t, "a copy at the one that was asked", first, browser, false)
	wantCookie(t, "a copy at one that does not know of it", second, browser, true)
	r.addresses = r.addresses[:1]
	if err := second.peers.pull(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCookie(t, "a copy at one that has asked since", second, browser, false)
}

// TestPeersAreKnownByTheKey checks that others can neither read sign-outs nor add any.
func TestPeersAreKnownByTheKey(t *testing.T) {
	r := newReplicas(t)
	c := r.start("k")
	browser := signsIn(t, c)
	s, err := c.session(withCookies(browser, http.MethodGet, "/"))
	if err != nil {
		t.Fatal(err)
	}
	message, _ := json.Marshal(signOut{ID: s.ID, Until: s.Ends})
	csrf := c.seal.proof("peer tell " + fmt.Sprintf("%d %s", len(message), message)) // What a browser can have put to it.
	for name, proof := range map[string]string{
		"none": "", "a guess": "AAAA", "of another message": c.peers.proof("tell", []byte("{}")),
		"for another purpose": c.peers.proof("told", message),
		"the nonce of a page": csrf,
	} {
		request := httptest.NewRequest(http.MethodPost, peersPath, strings.NewReader(string(message)))
		request.Header.Set(peerHeader, proof)
		w := httptest.NewRecorder()
		c.ServeHTTP(w, request)
		if w.Code != http.StatusForbidden {
			t.Errorf("told with the proof %s: %d", name, w.Code)
		}
		request = httptest.NewRequest(http.MethodGet, peersPath, http.NoBody)
		request.Header.Set(peerHeader, "nonce."+proof)
		w = httptest.NewRecorder()
		c.ServeHTTP(w, request)
		if w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "since") {
			t.Errorf("asked with the proof %s: %d", name, w.Code)
		}
	}
	wantCookie(t, "a session that strangers would end", c, browser, true)

	stranger := r.start("x") // It answers, and has another key.
	if err := c.peers.pull(t.Context()); err == nil || c.signOuts.since.Before(r.clock()) {
		t.Errorf("one with another key is believed: %v", err)
	}
	if err := c.peers.tell(t.Context(), signOut{ID: "a", Until: r.clock().Add(time.Hour)}); err == nil {
		t.Error("one with another key counts as told")
	}
	if len(stranger.signOuts.until) > 0 {
		t.Error("one with another key has learned of a session")
	}
	yes := httptest.NewTLSServer(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	defer yes.Close()
	r.addresses = []string{yes.Listener.Addr().String()}
	if err := c.peers.tell(t.Context(), signOut{ID: "a", Until: r.clock().Add(time.Hour)}); !errors.Is(err, errNoPeer) {
		t.Errorf("whoever says yes counts as told: %v", err)
	}
	list := `{"since":"2001-01-01T00:00:00Z","ended":[{"id":"` + s.ID + `","until":"2099-01-01T00:00:00Z"}]}`
	liar := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, list)
	}))
	defer liar.Close()
	r.addresses = []string{liar.Listener.Addr().String()}
	if err := c.peers.pull(t.Context()); !errors.Is(err, errNoPeer) || c.signOuts.since.Before(r.clock()) {
		t.Errorf("a list without a proof is believed: %v", err)
	}
	wantCookie(t, "a session that a stranger's list would end", c, browser, true)
}

// TestPeersNeedAKey checks that replicas with keys of their own are refused, and that without peers there is no such
// URL.
func TestPeersNeedAKey(t *testing.T) {
	find := func(context.Context) ([]string, error) { return nil, nil }
	if _, err := New(Options{Config: nowhere(), Peers: find}); err == nil {
		t.Error("replicas with keys of their own")
	}
	w := httptest.NewRecorder()
	newConsole(t, nil).ServeHTTP(w, httptest.NewRequest(http.MethodPost, peersPath, http.NoBody))
	if w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound {
		t.Errorf("without peers: %d", w.Code)
	}
}

// TestEndingsAreBounded signs out of more sessions than are remembered: then every session of before is refused, and
// stays so when another replica says that it knows more.
func TestEndingsAreBounded(t *testing.T) {
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e := newSignOuts(begun)
	now := begun.Add(time.Minute)
	for i := range maxSignOuts + 1 {
		e.add(signOut{ID: fmt.Sprint(i), Until: now.Add(time.Hour)}, now)
	}
	e.merge(&signOutList{Since: begun}, now)
	if len(e.until) > maxSignOuts || !e.ended(&session{ID: "0", Begun: begun}) ||
		!e.ended(&session{ID: "another", Begun: begun}) {
		t.Errorf("%d are remembered, or a session of before is let in", len(e.until))
	}
	if e.ended(&session{ID: "new", Begun: now}) {
		t.Error("a session of now is refused")
	}
	e.add(signOut{ID: "past", Until: now}, now)
	if len(e.list(now.Add(time.Hour)).Ended) != 0 {
		t.Error("sessions that have ended by themselves are remembered")
	}
}
