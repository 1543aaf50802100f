package limit

import (
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// Apply has a server of HTTP keep to the bounds of the Listener that it is to serve, and answer promptly. It speaks HTTP/2 where there are
// bounds for that.
func (b Bounds) Apply(s *http.Server) {
	s.Handler = promptly(s.Handler)
	s.MaxHeaderBytes = b.Header
	s.Protocols = &http.Protocols{}
	s.Protocols.SetHTTP1(true)
	// In plain text only by prior knowledge. What was encrypted is decrypted by then.
	s.Protocols.SetUnencryptedHTTP2(b.Streams > 0)
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          b.Streams,
		MaxReadFrameSize:              maxFrame,
		MaxReceiveBufferPerStream:     64 << 10,
		MaxReceiveBufferPerConnection: 128 << 10,
		SendPingTimeout:               30 * time.Second,
		PingTimeout:                   Patience,
		WriteByteTimeout:              Patience,
	}
	s.ConnState = func(c net.Conn, state http.ConnState) {
		if c, ok := c.(*Conn); ok && state == http.StateIdle {
			c.Idle()
		}
	}
}

// protocols are those that TLS is to offer.
func (b Bounds) protocols() []string {
	if b.Streams > 0 {
		return []string{"h2", "http/1.1"}
	}
	return []string{"http/1.1"}
}

const (
	// grace is how long what is left of a body may take that nobody has read, and spare is how long it may be.
	grace = 20 * time.Millisecond
	spare = 64 << 10
)

// promptly has a request answered at once although its handler has not read all of the body. A client may announce one and not
// send it, and a proxy pass on that it did; net/http would wait for it before it answers. If the body isn't there by the time of the
// answer, the connection is closed after that: what comes next on it can't be told from the body.
func promptly(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 || r.ProtoMajor != 1 { // HTTP/2 doesn't wait.
			handler.ServeHTTP(w, r)
			return
		}
		settling := &settling{ResponseWriter: w, request: r}
		handler.ServeHTTP(settling, r)
		settling.settle()
	})
}

// settling is the answer to a request with a body.
type settling struct {
	http.ResponseWriter
	request *http.Request
	settled bool
}

// Unwrap is for http.ResponseController.
func (s *settling) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (s *settling) WriteHeader(status int) {
	s.settle()
	s.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (s *settling) Write(b []byte) (int, error) {
	s.settle()
	return s.ResponseWriter.Write(b)
}

// settle takes in what is left of the body, or has the connection closed.
func (s *settling) settle() {
	if s.settled {
		return
	}
	s.settled = true
	// With a client that waits to be asked for the body, a read would ask for it.
	control := http.NewResponseController(s.ResponseWriter)
	if s.request.Header.Get("Expect") == "" && control.SetReadDeadline(time.Now().Add(grace)) == nil {
		if _, err := io.CopyN(io.Discard, s.request.Body, spare+1); errors.Is(err, io.EOF) {
			// The server goes on reading, to hear of a client that goes away: at a deadline it would take every client for one, and end an
			// answer that takes longer.
			_ = control.SetReadDeadline(time.Time{})
			return
		}
	}
	s.Header().Set("Connection", "close")
}
