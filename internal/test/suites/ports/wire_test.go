package ports_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// Types and flags of frames: RFC 9113, section 6.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	framePing         = 0x6
	frameWindowUpdate = 0x8
	frameContinuation = 0x9

	endStream  = 0x1
	endHeaders = 0x4
	longest    = 16 << 10
)

// attacker is the connection of a client that follows no rule. Bytes that are sent after it was closed are dropped.
type attacker struct {
	net.Conn
	next uint32
}

// attack opens a connection from an address. It is closed when the test ends.
func attack(t *testing.T, from, address string, secure *tls.Config) *attacker {
	t.Helper()
	return attackBy(t, &net.Dialer{}, from, address, secure)
}

func attackBy(t *testing.T, dialer *net.Dialer, from, address string, secure *tls.Config) *attacker {
	t.Helper()
	dialer.Timeout, dialer.LocalAddr = 5*time.Second, &net.TCPAddr{IP: net.ParseIP(from)}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return &attacker{}
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetWriteDeadline(time.Now().Add(15 * time.Second))
	if secure != nil {
		secure = secure.Clone()
		secure.ServerName = "127.0.0.1"
		conn = tls.Client(conn, secure)
	}
	return &attacker{Conn: conn, next: 1}
}

// takingNothing makes a connection's receive buffer small, for a client that never reads, so that the server soon has
// to wait.
func takingNothing(_, _ string, raw syscall.RawConn) error {
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF,
			4096)
	}); err != nil {
		return err
	}
	return failed
}

// swallow reads and drops all that the server sends.
func (a *attacker) swallow() *attacker {
	if a.Conn != nil {
		go func() { _, _ = io.Copy(io.Discard, a.Conn) }()
	}
	return a
}

// send sends bytes, and reports whether the connection still takes them.
func (a *attacker) send(b []byte) bool {
	if a.Conn == nil {
		return false
	}
	_, err := a.Write(b)
	return err == nil
}

// greet sends HTTP/2's connection preface and settings.
func (a *attacker) greet(settings ...byte) *attacker {
	a.send(append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(frameSettings, 0, 0, settings)...))
	return a
}

// stream returns the ID of a new stream.
func (a *attacker) stream() uint32 {
	id := a.next
	a.next += 2
	return id
}

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(head, stream), payload...)
}

// headers returns the frames of a header block of any length.
func headers(stream uint32, flags byte, block []byte) []byte {
	kind, out := byte(frameHeaders), []byte(nil)
	for len(block) > longest {
		out = append(out, frame(kind, flags, stream, block[:longest])...)
		kind, flags, block = frameContinuation, 0, block[longest:]
	}
	return append(out, frame(kind, flags|endHeaders, stream, block)...)
}

// text returns a string literal in HPACK: RFC 7541, section 5.2.
func text(s string) []byte {
	if len(s) < 127 {
		return append([]byte{byte(len(s))}, s...)
	}
	out := []byte{127}
	rest := len(s) - 127
	for ; rest >= 128; rest >>= 7 {
		out = append(out, byte(rest)|128)
	}
	return append(append(out, byte(rest)), s...)
}

// field returns a header field that is added to the dynamic table, where its index is newest.
func field(name, value string) []byte {
	return append(append([]byte{0x40}, text(name)...), text(value)...)
}

// newest is an indexed field: the one that was added last.
const newest = 0x80 | 62

// call returns the header block of a POST request for a path.
func call(path string) []byte {
	return bytes.Join([][]byte{{0x83, 0x86, 0x44}, text(path), {0x41}, text("verifier"), {0x5f}, text("application/grpc"),
		field("te", "trailers")}, nil)
}

const check = "/envoy.service.auth.v3.Authorization/Check"

// message returns the beginning of a message in gRPC's framing.
func message(length uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0}, length) }
