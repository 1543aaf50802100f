package limit

import (
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// Apply sets up a server for the bounds of the Listener that it will serve. It also makes the server answer without
// waiting for bodies that handlers don't read. HTTP/2 is on if Streams is set.
func (b Bounds) Apply(s *http.Server) {
	s.Handler = withoutWaiting(s.Handler)
	s.MaxHeaderBytes = b.Header
	s.Protocols = &http.Protocols{}
	s.Protocols.SetHTTP1(true)
	// HTTP/2 without TLS, by prior knowledge: the listener decrypts what was encrypted.
	s.Protocols.SetUnencryptedHTTP2(b.Streams > 0)
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          b.Streams,
		MaxReadFrameSize:              maxFrame,
		MaxReceiveBufferPerStream:     64 << 10,
		MaxReceiveBufferPerConnection: 128 << 10,
		SendPingTimeout:               30 * time.Second,
		PingTimeout:                   Timeout,
		WriteByteTimeout:              Timeout,
	}
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if c, ok := c.(*Conn); ok && state == http.StateIdle {
			c.Idle()
		}
	}
}

// protocols returns the ALPN protocols that TLS offers.
func (b Bounds) protocols() []string {
	if b.Streams > 0 {
		return []string{"h2", "http/1.1"}
	}
	return []string{"http/1.1"}
}

const (
	// drainTimeout is how long the unread rest of a body may take to arrive, and drainBytes is how long it may be.
	drainTimeout = 20 * time.Millisecond
	drainBytes   = 64 << 10
)

// withoutWaiting makes a handler answer at once although it has not read all of the body. A client may announce a body
// and not send it, and net/http would wait for the body before it answers. If the body isn't there by then, the
// connection is closed after the response, because the next request can't be told from the body.
func withoutWaiting(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 || r.ProtoMajor != 1 { // Go's HTTP/2 server doesn't wait.
			handler.ServeHTTP(w, r)
			return
		}
		drainer := &bodyDrainer{ResponseWriter: w, request: r}
		handler.ServeHTTP(drainer, r)
		drainer.drain()
	})
}

// bodyDrainer is a ResponseWriter that deals with the request's body before the response is sent.
type bodyDrainer struct {
	http.ResponseWriter
	request *http.Request
	drained bool
}

// Unwrap is for http.ResponseController.
func (d *bodyDrainer) Unwrap() http.ResponseWriter { return d.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (d *bodyDrainer) WriteHeader(status int) {
	d.drain()
	d.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (d *bodyDrainer) Write(b []byte) (int, error) {
	d.drain()
	return d.ResponseWriter.Write(b)
}

// drain reads the rest of the body, or makes the server close the connection after the response.
func (d *bodyDrainer) drain() {
	if d.drained {
		return
	}
	d.drained = true
	// With Expect: 100-continue, a read would ask the client for the body.
	control := http.NewResponseController(d.ResponseWriter)
	if d.request.Header.Get("Expect") == "" && control.SetReadDeadline(time.Now().Add(drainTimeout)) == nil {
		if _, err := io.CopyN(io.Discard, d.request.Body, drainBytes+1); errors.Is(err, io.EOF) {
			// The server keeps reading, to notice clients that disconnect. A deadline would look like a disconnect, and end a
			// slow response.
			_ = control.SetReadDeadline(time.Time{})
			return
		}
	}
	d.Header().Set("Connection", "close")
}
