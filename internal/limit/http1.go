package limit

import (
	"bytes"
)

// perField is what a header field holds beyond its text, in bytes: its place in a map, and in the list of a name's values.
const perField = 128

var preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// unknown is a connection that has not said yet which protocol it speaks.
type unknown struct {
	bounds Bounds
	// seen is how much of HTTP/2's preface has come.
	seen int
}

// meet returns the meter of the protocol that the first bytes are of.
func (u *unknown) meet(b []byte) meter {
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

// http1 is a connection of HTTP/1. How long a header may be, and how long it and the body may take, is the server's business.
type http1 struct {
	held int64
	// tail is what of it may be the beginning of the next request, which the server has read with the end of this one.
	tail int64
	// asked is when the last request came in full, or 0 once it is being answered.
	asked int64
}

var (
	blankLine  = []byte("\n\r\n")
	barelyDone = []byte("\n\n")
	interim    = []byte("HTTP/1.1 1")
)

func (m *http1) read(b []byte, at int64) bool {
	m.held += cost(b)
	// Whatever follows a blank line may be another request. Without one, all may be.
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

// cost is what bytes of requests hold: twice their number, as they come and as they are kept, and what each line may be a field of.
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

// since says that nothing is stuck: the server has time limits for headers and bodies.
func (m *http1) since() (stuck, asked int64) { return 0, m.asked }
