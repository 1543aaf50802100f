package limit

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// ErrExceeded is the error of a connection that exceeded the bounds.
var ErrExceeded = errors.New("the connection exceeds what it may hold")

// Conn is a connection that estimates how much memory its requests hold.
type Conn struct {
	// Conn carries the decrypted bytes.
	net.Conn

	raw       net.Conn
	encrypted *encrypted // nil for plain text
	listener  *Listener
	// accepted, answered and stuck are times: when the connection was accepted, when it was last answered, and since when
	// it has an incomplete request. 0 means never.
	accepted        int64
	answered, stuck atomic.Int64
	// asked is when the last complete request came that is not answered yet, or 0.
	asked atomic.Int64
	peer  *peer // set by admit
	// writing is when the write under way began, or 0.
	writing atomic.Int64
	// taken is how much shared memory the connection has, in bytes.
	taken atomic.Int64
	dead  atomic.Bool

	mu       sync.Mutex
	protocol protocol
}

// protocol estimates how much memory the requests of a connection hold, by parsing what goes over it.
type protocol interface {
	// read parses bytes that were received at a time. It reports whether they are within what the protocol allows.
	read(bytes []byte, at int64) bool
	// wrote parses bytes that are sent. It reports whether they end a response.
	wrote(bytes []byte) bool
	// idle is called when no request is under way.
	idle()
	// holds returns how much memory requests hold now, in bytes.
	holds() int64
	// since returns when the oldest request that still holds memory began, and when the last one that waits for its
	// response did. 0 means none.
	since() (stuck, asked int64)
}

func newConn(l *Listener, raw net.Conn) *Conn {
	c := &Conn{Conn: raw, raw: raw, listener: l, accepted: l.now()}
	if l.bounds.HTTP2 {
		c.protocol = newHTTP2(l.bounds)
	} else {
		c.protocol = &unknown{bounds: l.bounds}
	}
	return c
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 {
		if err != nil && c.encrypted != nil {
			answerPlainHTTP(err)
		}
		return n, err
	}
	if c.encrypted != nil {
		c.encrypted.left.Store(maxUndecrypted)
	}
	if reason := c.readMore(b[:n]); reason != "" {
		c.end(reason)
		return 0, ErrExceeded
	}
	return n, err
}

// readMore counts received bytes. It returns why they exceed the bounds, or an empty reason.
func (c *Conn) readMore(b []byte) Reason {
	at := c.listener.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if next, ok := c.protocol.(*unknown); ok {
		c.protocol = next.detect(b)
	}
	if !c.protocol.read(b, at) {
		return Malformed
	}
	if !c.settle() {
		return TooMuchMemory
	}
	return ""
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	at := c.listener.now()
	c.mu.Lock()
	ended := c.protocol.wrote(b)
	settled := c.settle()
	c.mu.Unlock()
	if ended {
		c.answered.Store(at)
	}
	if !settled {
		c.end(TooMuchMemory)
		return 0, ErrExceeded
	}
	c.writing.Store(at)
	defer c.writing.Store(0)
	return c.Conn.Write(b)
}

// Idle tells the connection that no request is under way. The server's ConnState hook calls it.
func (c *Conn) Idle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.protocol.idle()
	c.settle() // It can only give memory back, so it can't fail.
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.giveBack()
	c.listener.forget(c)
	return c.Conn.Close()
}

// end closes the underlying connection. Its reader or writer then calls Close, which unregisters it.
func (c *Conn) end(reason Reason) {
	if c.dead.Swap(true) {
		return
	}
	c.giveBack()
	_ = c.raw.Close()
	c.listener.closed(reason)
}

func (c *Conn) giveBack() {
	c.dead.Store(true)
	c.listener.left.Add(c.taken.Swap(0))
}

// settle takes shared memory or gives it back, so that the connection has as much as its requests hold. It reports
// whether there was enough. The caller holds the lock.
func (c *Conn) settle() bool {
	stuck, asked := c.protocol.since()
	if stuck != c.stuck.Load() {
		c.stuck.Store(stuck)
	}
	if asked != c.asked.Load() {
		c.asked.Store(asked)
	}
	wanted := max(c.protocol.holds()-c.listener.bounds.Own, 0)
	wanted = (wanted + unit - 1) / unit * unit
	more := wanted - c.taken.Load()
	if more == 0 {
		return true
	}
	if c.dead.Load() || more > 0 && !c.listener.take(c, more) {
		return false
	}
	c.taken.Add(more)
	if more < 0 {
		c.listener.left.Add(-more)
	}
	if c.dead.Load() { // It was closed meanwhile.
		c.giveBack()
		return false
	}
	return true
}

// stuckSince returns when the connection's oldest incomplete request or its current write began, or 0 if there is
// neither.
func (c *Conn) stuckSince() int64 {
	stuck, writing := c.stuck.Load(), c.writing.Load()
	if stuck == 0 || writing != 0 && writing < stuck {
		return writing
	}
	return stuck
}
