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

// follow asks for the stream, and reads it until a function has read enough of its lines.
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
		told := &line{}
		if err := json.Unmarshal(scanner.Bytes(), told); err != nil {
			t.Fatal(err)
		}
		if enough(told) {
			return
		}
	}
	t.Fatalf("the stream has ended: %v", scanner.Err())
}

// behindProxy takes the user's token from the header.
func behindProxy(o *Options) { o.Header = true }

// TestTenantIsLive changes a tenant while the page is open that would be looked at once an hour only. It does so more
// than once: as soon as all keys are listed there is a look by itself.
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

// TestTenantWithoutWatch does so under the eyes of who may list tenants and not watch them: theirs is looked at every
// now and then.
func TestTenantWithoutWatch(t *testing.T) {
	a := newAPI()
	a.unwatched = true
	c := a.console(t, behindProxy)
	c.refreshEvery = 10 * time.Millisecond
	follow(t, c, proxied(), func(l *line) bool { return l.Tenant != nil && a.most.Add(1) > 23 && a.watches.Load() > 0 })
}

// TestRightsAreLive takes the rights from somebody who looks: the buttons go, and then the keys, though the watch would
// go on.
func TestRightsAreLive(t *testing.T) {
	a := newAPI()
	a.bars = true
	c := a.console(t, behindProxy)
	c.refreshEvery = 10 * time.Millisecond
	var told []bool
	follow(t, c, proxied(), func(l *line) bool {
		if l.Rights != nil {
			told = append(told, l.Rights.List)
		}
		return l.Problem != nil && l.Problem.Reason == reasonForbidden
	})
	// The rights are asked for one after the other: there may be a moment with some of them.
	if len(told) < 2 || !told[0] || told[len(told)-1] {
		t.Errorf("may list keys: %t", told)
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
