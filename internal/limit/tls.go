package limit

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
)

const (
	// greeting is how many encrypted bytes a handshake may take. TLS itself would keep 64 KiB of one.
	greeting = 24 << 10
	// sealed is how many may come, once there was something to decrypt, until there is more. A record has 16 KiB.
	sealed = 48 << 10
)

// envelope is the encrypted side of a connection. It bounds what TLS keeps of what can't be decrypted yet.
type envelope struct {
	net.Conn
	of *Conn
	// left is how many bytes may come.
	left atomic.Int64
}

func newEnvelope(of *Conn) *envelope {
	e := &envelope{Conn: of.raw, of: of}
	e.left.Store(greeting)
	return e
}

// Read implements net.Conn.
func (e *envelope) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	if e.left.Add(int64(-n)) < 0 {
		e.of.end(Malformed)
		return 0, ErrExceeded
	}
	return n, err
}

// Secure has a handshake give what is read and written from now on. It is for servers that do that themselves.
func (c *Conn) Secure(handshake func(net.Conn) (net.Conn, error)) error {
	c.envelope = newEnvelope(c)
	secured, err := handshake(c.envelope)
	if err != nil {
		return err
	}
	c.Conn = secured
	return nil
}

// explain answers a client that does not speak TLS, as net/http does.
func explain(err error) {
	var fault tls.RecordHeaderError
	if !errors.As(err, &fault) || fault.Conn == nil {
		return
	}
	switch string(fault.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		_, _ = io.WriteString(fault.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	}
}
