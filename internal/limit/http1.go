package limit

import (
	"bytes"
)

// perField is what a header field holds beyond its text, in bytes: an entry of a map, and of the list of a name's
// values.
const perField = 128

var preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// unknown is the protocol of a connection before it is detected.
type unknown struct {
	bounds Bounds
	// seen is how many bytes of HTTP/2's preface have been received.
	seen int
}

// detect returns the protocol that begins with the bytes received so far.
func (u *unknown) detect(b []byte) protocol {
	rest := preface[u.seen:]
	n := min(len(rest), len(b))
	if !bytes.Equal(b[:n], rest[:n]) {
		return &http1{}
	}
	if n == len(rest) {
		m := newHTTP2(u.bounds)
		m.preface = n
		return m
	}
	u.seen += n
	return u
}

func (u *unknown) read([]byte, int64) bool     { return true }
func (u *unknown) wrote([]byte) bool           { return false }
func (u *unknown) idle()                       {}
func (u *unknown) holds() int64                { return 0 }
func (u *unknown) since() (stuck, asked int64) { return 0, 0 }

// http1 is HTTP/1. The server itself limits the length of a header, and how long it and the body may take.
type http1 struct {
	held int64
	// tail is the part of held that may belong to the next request, which was read together with the end of this one.
	tail int64
	// asked is when the last complete request was received, or 0 once its response has begun.
	asked int64
}

var (
	blankLine  = []byte("\n\r\n")
	barelyDone = []byte("\n\n")
	interim    = []byte("HTTP/1.1 1")
)

func (m *http1) read(b []byte, at int64) bool {
	m.held += cost(b)
	// What follows a blank line may be another request. Without a blank line, everything may be.
	switch at := bytes.Index(b, blankLine); {
	case at >= 0 && !bytes.Contains(b[:at], barelyDone):
		m.tail = cost(b[at+len(blankLine):])
	default:
		m.tail = cost(b)
	}
	m.asked = 0
	if m.tail == 0 {
		m.asked = at
	}
	return true
}

// cost estimates what received bytes hold: twice their number, once as received and once as parsed, and a header field
// for each line.
func cost(b []byte) int64 {
	return int64(2*len(b)) + int64(bytes.Count(b, blankLine[:1]))*perField
}

func (m *http1) wrote(b []byte) bool {
	if bytes.HasPrefix(b, interim) {
		return false
	}
	m.asked = 0
	return true
}

func (m *http1) idle() { m.held = m.tail }

func (m *http1) holds() int64 { return m.held }

// since returns 0 for a stuck request, because the server has timeouts for headers and bodies.
func (m *http1) since() (stuck, asked int64) { return 0, m.asked }
