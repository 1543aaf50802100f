package serving

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/surface/forward"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// refuser refuses.
type refuser struct{}

func (refuser) Decide(string, *verify.Request) verify.Decision {
	return verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonNoCredentials}
}
func (refuser) Refuse(string, verify.Reason) verify.Decision { return refuser{}.Decide("", nil) }

// TestUnsentBodies checks that a request is answered at once whose body never comes, and that the connection isn't used for
// another then. A body that does come is no reason to close it.
func TestUnsentBodies(t *testing.T) {
	listener, err := Listen("http-bind-address", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := &routes{exact: map[string]http.Handler{
		"/auth/forward": forward.NewForward(refuser{}, clientip.Trust{}),
		"/token/review": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) }),
	}}
	server := NewHTTP(listener, handler, nil)
	go func() { _ = server.Serve() }()
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		cancel()
		_ = server.Drain(ended)
	})
	for name, test := range map[string]struct {
		request string
		status  int
		closes  bool
	}{
		"none announced":           {"GET /auth/forward? HTTP/1.1\r\nHost: a\r\n\r\n", 401, false},
		"announced by its length":  {"GET /auth/forward? HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 401, true},
		"announced in chunks":      {"POST /auth/forward HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 401, true},
		"announced and asked for":  {"POST /auth/forward HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", 401, true},
		"a part of it sent":        {"POST /auth/forward HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc", 401, true},
		"very long":                {"POST /auth/forward HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nabc", 401, true},
		"sent":                     {"POST /auth/forward HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde", 401, false},
		"sent in chunks":           {"POST /auth/forward HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", 401, false},
		"at a URL that isn't ours": {"GET /favicon.ico HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 404, true},
		"where bodies are usual":   {"GET /token/review HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 405, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			begun := time.Now()
			if _, err := conn.Write([]byte(test.request)); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(begun.Add(5 * time.Second))
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("after %s: %v", time.Since(begun), err)
			}
			if took := time.Since(begun); response.StatusCode != test.status || took > 100*time.Millisecond {
				t.Errorf("status %d after %s", response.StatusCode, took)
			}
			_ = response.Body.Close()
			if response.Close != test.closes {
				t.Errorf("the connection closes: %v, headers %v", response.Close, response.Header)
			}
		})
	}
}
