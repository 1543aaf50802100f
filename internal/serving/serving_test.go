package serving

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestPlainTextSpeaksHTTP2 checks that clients may use HTTP/2 without TLS, as Envoy does, and HTTP/1.
func TestPlainTextSpeaksHTTP2(t *testing.T) {
	listener, err := Listen("http-bind-address", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewHTTP(listener, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
	go func() { _ = server.Serve() }()
	defer func() { _ = server.Drain(context.WithoutCancel(t.Context())) }()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		transport := &http.Transport{Protocols: &http.Protocols{}}
		transport.Protocols.SetHTTP1(protocol == "HTTP/1.1")
		transport.Protocols.SetUnencryptedHTTP2(protocol == "HTTP/2.0")
		request, err := http.NewRequestWithContext(
			t.Context(), http.MethodGet, "http://"+listener.Addr().String(), http.NoBody,
		)
		if err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		_ = response.Body.Close()
		if response.Proto != protocol {
			t.Errorf("%s, want %s", response.Proto, protocol)
		}
		transport.CloseIdleConnections()
	}
}

// deadlineListener has connections that report the read deadlines that are set.
type deadlineListener struct {
	net.Listener
	until chan time.Time
}

func (l *deadlineListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return &deadlineConn{Conn: conn, until: l.until}, err
}

type deadlineConn struct {
	net.Conn
	until chan time.Time
}

func (c *deadlineConn) SetReadDeadline(t time.Time) error {
	select {
	case <-c.until: // Only the last one counts.
	default:
	}
	c.until <- t
	return c.Conn.SetReadDeadline(t)
}

// TestBodiesHaveADeadline checks that there is a deadline for a request's body, of known length or not, and none for a
// request without one.
func TestBodiesHaveADeadline(t *testing.T) {
	plain, err := Listen("http-bind-address", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := &deadlineListener{Listener: plain, until: make(chan time.Time, 1)}
	var until time.Time
	server := NewHTTP(
		listener, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { until = <-listener.until }), nil,
	)
	go func() { _ = server.Serve() }()
	defer func() { _ = server.Drain(context.WithoutCancel(t.Context())) }()
	for name, test := range map[string]struct {
		body  io.Reader
		limit bool
	}{
		"none":              {http.NoBody, false},
		"of a known length": {strings.NewReader("{}"), true},
		"in chunks":         {io.MultiReader(strings.NewReader("{}")), true},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+plain.Addr().String(), test.body)
		if err != nil {
			t.Fatal(err)
		}
		request.Close = true
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = response.Body.Close()
		if limit := !until.IsZero(); limit != test.limit || limit && time.Until(until) > requestTimeout {
			t.Errorf("%s: a read waits until %s", name, until)
		}
	}
}
