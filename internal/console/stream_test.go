package console

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

const streamPath = "/api/namespaces/shop/stream"

// proxied returns a request for the stream with the header that a proxy sets.
func proxied() *http.Request {
	r := httptest.NewRequest(http.MethodGet, streamPath, http.NoBody)
	r.Header.Set("Authorization", "Bearer somebody's")
	return r
}

// follow reads the stream until enough returns true for one of its lines.
func follow(t *testing.T, c *Console, r *http.Request, enough func(*line) bool) {
	t.Helper()
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	t.Cleanup(c.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, r.Method, server.URL+r.URL.Path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = r.Header
	answer, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	scanner := bufio.NewScanner(answer.Body)
	for scanner.Scan() {
		received := &line{}
		if err := json.Unmarshal(scanner.Bytes(), received); err != nil {
			t.Fatal(err)
		}
		if enough(received) {
			return
		}
	}
	t.Fatalf("the stream has ended: %v", scanner.Err())
}

// behindProxy makes the console take the user's token from the header.
func behindProxy(o *Options) { o.Header = true }

// TestTenantIsLive checks that an open page shows a tenant's changes, although it looks by itself only once an hour. It
// makes several, because there is a first look as soon as all keys are listed.
func TestTenantIsLive(t *testing.T) {
	a := newAPI()
	c := a.console(t, behindProxy)
	c.refreshEvery = time.Hour
	follow(t, c, proxied(), func(l *line) bool {
		if l.Tenant == nil {
			return false
		}
		a.grow <- struct{}{}
		return l.Tenant.Most == 23
	})
}

// TestTenantWithoutWatch checks that a user who may list tenants but not watch them sees a tenant's changes, too: the
// tenant is read now and then.
func TestTenantWithoutWatch(t *testing.T) {
	a := newAPI()
	a.unwatched = true
	c := a.console(t, behindProxy)
	c.refreshEvery = 10 * time.Millisecond
	follow(t, c, proxied(), func(l *line) bool { return l.Tenant != nil && a.most.Add(1) > 23 && a.watches.Load() > 0 })
}

// TestRightsAreLive withdraws the rights of a user who has the page open: the buttons go, and then the keys, although
// the watch would go on.
func TestRightsAreLive(t *testing.T) {
	a := newAPI()
	a.bars = true
	c := a.console(t, behindProxy)
	c.refreshEvery = 10 * time.Millisecond
	var sent []bool
	follow(t, c, proxied(), func(l *line) bool {
		if l.Rights != nil {
			sent = append(sent, l.Rights.List)
		}
		return l.Problem != nil && l.Problem.Reason == reasonForbidden
	})
	// The rights are asked for one after the other: there may be a moment with some of them.
	if len(sent) < 2 || !sent[0] || sent[len(sent)-1] {
		t.Errorf("may list keys: %t", sent)
	}
}

// TestStreamEndsWithSession looks until the session ends, which the page must not outlive.
func TestStreamEndsWithSession(t *testing.T) {
	c := newAPI().console(t, nil)
	w := httptest.NewRecorder()
	if err := c.begin(w, &session{Token: "t", User: "jane", Ends: time.Now().Add(time.Second)}); err != nil {
		t.Fatal(err)
	}
	follow(t, c, withCookies(w, http.MethodGet, streamPath),
		func(l *line) bool { return l.Problem != nil && l.Problem.Reason == reasonSession })
}
