package limit

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
)

const (
	// maxHandshake is how many encrypted bytes a handshake may take. TLS itself would buffer 64 KiB.
	maxHandshake = 24 << 10
	// maxUndecrypted is how many encrypted bytes may be received without any of them being decrypted. A record has 16 KiB.
	maxUndecrypted = 48 << 10
)

// encrypted is the encrypted side of a connection. It bounds how much TLS buffers before it can decrypt it.
type encrypted struct {
	net.Conn
	of *Conn
	// left is how many bytes may still be received.
	left atomic.Int64
}

func newEncrypted(of *Conn) *encrypted {
	e := &encrypted{Conn: of.raw, of: of}
	e.left.Store(maxHandshake)
	return e
}

// Read implements net.Conn.
func (e *encrypted) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	if e.left.Add(int64(-n)) < 0 {
		e.of.end(Malformed)
		return 0, ErrExceeded
	}
	return n, err
}

// Secure runs a handshake and uses the connection that it returns from now on. It is for servers that do TLS
// themselves.
func (c *Conn) Secure(handshake func(net.Conn) (net.Conn, error)) error {
	c.encrypted = newEncrypted(c)
	secured, err := handshake(c.encrypted)
	if err != nil {
		return err
	}
	c.Conn = secured
	return nil
}

// answerPlainHTTP tells a client that it spoke HTTP to a TLS port, as net/http does.
func answerPlainHTTP(err error) {
	var fault tls.RecordHeaderError
	if !errors.As(err, &fault) || fault.Conn == nil {
		return
	}
	switch string(fault.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		_, _ = io.WriteString(fault.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	}
}
