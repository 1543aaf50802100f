package serving

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/surface/forward"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// refuser refuses every request.
type refuser struct{}

func (refuser) Decide(string, *verify.Request) verify.Decision {
	return verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonNoCredentials}
}
func (refuser) Refuse(string, verify.Reason) verify.Decision { return refuser{}.Decide("", nil) }

// exchange sends a request unchanged, and returns the response and how long it took.
func exchange(t *testing.T, address, request string) (*http.Response, time.Duration) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begun := time.Now()
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(begun.Add(5 * time.Second)) // The server would wait 10 seconds for a body.
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("after %s: %v", time.Since(begun), err)
	}
	took := time.Since(begun)
	_ = response.Body.Close()
	return response, took
}

// TestUnsentBodies checks that a request whose body never comes is answered at once, and that its connection is then
// closed. If the body does come, the connection is kept.
func TestUnsentBodies(t *testing.T) {
	listener, err := Listen("http-bind-address", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := &routes{exact: map[string]http.Handler{
		"/auth/forward": forward.NewForward(refuser{}, clientip.Trust{}),
		"/token/review": http.HandlerFunc(
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) },
		),
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
		"none announced":          {"GET /auth/forward? HTTP/1.1\r\nHost: a\r\n\r\n", 401, false},
		"announced by its length": {"GET /auth/forward? HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 401, true},
		"announced in chunks": {
			"POST /auth/forward HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 401, true,
		},
		"announced and asked for": {
			"POST /auth/forward HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", 401, true,
		},
		"a part of it sent": {"POST /auth/forward HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc", 401, true},
		"very long": {
			"POST /auth/forward HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nabc", 401, true,
		},
		"sent": {"POST /auth/forward HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde", 401, false},
		"sent in chunks": {
			"POST /auth/forward HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", 401, false,
		},
		"at a URL that isn't ours": {"GET /favicon.ico HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 404, true},
		"where bodies are usual":   {"GET /token/review HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", 405, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A busy machine may delay one response, but hardly all of many.
			program.WaitUntil(t, 20*time.Second, "an answer within 100 ms", func() error {
				response, took := exchange(t, listener.Addr().String(), test.request)
				if response.StatusCode != test.status || response.Close != test.closes {
					t.Fatalf("status %d, the connection closes: %v, headers %v", response.StatusCode, response.Close, response.Header)
				}
				if took > 100*time.Millisecond {
					return fmt.Errorf("it took %s", took)
				}
				return nil
			})
		})
	}
}
