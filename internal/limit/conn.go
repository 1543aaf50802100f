package limit

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// ErrExceeded is the error of a connection that exceeded the bounds.
var ErrExceeded = errors.New("the connection exceeds what it may hold")

// Conn is a connection that counts what its requests hold.
type Conn struct {
	// Conn is what is read and written: decrypted.
	net.Conn

	raw      net.Conn
	envelope *envelope // nil for plain text
	listener *Listener
	// accepted, answered and stuck are times: of the beginning, of the last answer, and since when a request is incomplete. 0 is never.
	accepted        int64
	answered, stuck atomic.Int64
	// asked is when the last request came that is complete and not answered, or 0.
	asked atomic.Int64
	peer  *peer // set as it is admitted
	// writing is since when a write is under way, or 0.
	writing atomic.Int64
	// taken is what the connection has of the shared memory.
	taken atomic.Int64
	dead  atomic.Bool

	mu     sync.Mutex
	speaks meter
}

// meter estimates what the requests of a connection hold.
type meter interface {
	// read is told of bytes that came, and when. It says whether they are within what the protocol allows for.
	read(bytes []byte, at int64) bool
	// wrote is told of bytes that are sent, and says whether they end an answer.
	wrote(bytes []byte) bool
	// idle is told that no request is under way.
	idle()
	// holds is what requests hold now, in bytes.
	holds() int64
	// since is when the oldest request began that keeps memory from being given back, and when the last one did that waits for its
	// answer; 0 is for none.
	since() (stuck, asked int64)
}

func newConn(l *Listener, raw net.Conn) *Conn {
	c := &Conn{Conn: raw, raw: raw, listener: l, accepted: l.now()}
	if l.bounds.HTTP2 {
		c.speaks = newHTTP2(l.bounds)
	} else {
		c.speaks = &unknown{bounds: l.bounds}
	}
	return c
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 {
		if err != nil && c.envelope != nil {
			explain(err)
		}
		return n, err
	}
	if c.envelope != nil {
		c.envelope.left.Store(sealed)
	}
	if reason := c.readMore(b[:n]); reason != "" {
		c.end(reason)
		return 0, ErrExceeded
	}
	return n, err
}

// readMore counts bytes that came, and returns why they are too many, or nothing.
func (c *Conn) readMore(b []byte) Reason {
	at := c.listener.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if next, ok := c.speaks.(*unknown); ok {
		c.speaks = next.meet(b)
	}
	if !c.speaks.read(b, at) {
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
	ended := c.speaks.wrote(b)
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

// Idle is for a server's hook: no request is under way.
func (c *Conn) Idle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.speaks.idle()
	c.settle() // It only gives back.
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.giveBack()
	c.listener.forget(c)
	return c.Conn.Close()
}

// end closes the connection under whoever reads or writes. They close it too, and have it forgotten.
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

// settle takes shared memory or gives it back, so that it is what requests hold. It is for the holder of the lock.
func (c *Conn) settle() bool {
	stuck, asked := c.speaks.since()
	if stuck != c.stuck.Load() {
		c.stuck.Store(stuck)
	}
	if asked != c.asked.Load() {
		c.asked.Store(asked)
	}
	wanted := max(c.speaks.holds()-c.listener.bounds.Own, 0)
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
	if c.dead.Load() { // Since then.
		c.giveBack()
		return false
	}
	return true
}

// stuckSince is when the connection's oldest request began that is incomplete, or the write that is under way; 0 is for neither.
func (c *Conn) stuckSince() int64 {
	stuck, writing := c.stuck.Load(), c.writing.Load()
	if stuck == 0 || writing != 0 && writing < stuck {
		return writing
	}
	return stuck
}
