// Package limit bounds the memory that a port's connections can use, whoever opens them: how many connections there
// are, and how much memory their requests take. Go's servers have limits for a single request, such as the length of
// its header; a port has thousands of requests.
//
//	          ┌─────────────┐  decrypted   ┌──────┐  requests   ┌─────────────────────┐
//	client ──▶│ TLS, if any ├─────────────▶│ Conn ├────────────▶│ net/http or grpc-go │
//	          └─────────────┘              └──┬───┘             └─────────────────────┘
//	                                          │ counts what goes either way
//	                                          ▼
//	                             Listener: connections, shared memory
//
// Each connection has an allowance of its own, which is enough for what proxies usually send. Memory beyond that comes
// from a pool that all connections of the port share. If the pool is empty, a connection is closed: the one whose
// request has been incomplete for the longest time, else the one that holds the most. So the worst case can be
// computed: see Bounds.WorstCase.
//
// How much a request takes is an upper estimate, from the bytes received and from how many header fields they can
// encode.
package limit

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Timeout is how long a request may take to be complete once it has begun, and how long a write may be blocked.
	Timeout = 10 * time.Second
	// unit is the size of the pieces in which shared memory is taken, in bytes.
	unit = 64 << 10
	// sweepEvery is how often Timeout is enforced.
	sweepEvery = time.Second
	// recent is how long a connection is kept after its last answer, or after it became stuck, if another needs its place.
	recent = 100 * time.Millisecond
	// answering is how long a connection that waits for an answer is kept if another needs its place.
	answering = 5 * time.Second
)

// Bounds are the limits of a port.
type Bounds struct {
	// Connections is how many there may be. If there are more, one is closed: of the peer with the most connections.
	Connections int
	// Rest is what an idle connection holds in buffers and stacks, in bytes.
	Rest int64
	// Own is what the requests of one connection may hold before they use shared memory, in bytes.
	Own int64
	// Shared is what the requests of all connections together may hold beyond that, in bytes.
	Shared int64
	// Header is how long the header of a request may be, with 32 bytes added for each field, as HTTP/2 counts.
	Header int
	// Streams is how many requests an HTTP/2 connection may have under way. 0 means no HTTP/2.
	Streams int
	// HTTP2 means that all connections are HTTP/2. Otherwise the protocol is detected.
	HTTP2 bool
	// Lasting means that responses may take as long as they like, as watches do. Otherwise each must be complete within
	// Timeout.
	Lasting bool
}

// WorstCase returns the most that all connections together can hold, in bytes.
func (b Bounds) WorstCase() int64 { return int64(b.Connections)*(b.Rest+b.Own) + b.Shared }

// Reason is why a connection was closed.
type Reason string

const (
	// TooManyConnections means that the connection gave way to another, or was not accepted.
	TooManyConnections Reason = "connections"
	// TooMuchMemory means that the requests held too much memory.
	TooMuchMemory Reason = "memory"
	// TooSlow means that a request or a response took longer than Timeout.
	TooSlow Reason = "slow"
	// Malformed means that a frame, a header or the number of streams exceeded what the protocol allows.
	Malformed Reason = "malformed"
)

// Reasons lists every Reason.
var Reasons = []Reason{TooManyConnections, TooMuchMemory, TooSlow, Malformed}

// Listener accepts connections and keeps them within bounds.
type Listener struct {
	net.Listener

	bounds Bounds
	secure *tls.Config
	closed func(Reason)
	// now returns a monotonic time in nanoseconds, never 0.
	now func() int64
	// left is how much shared memory is left, in bytes.
	left atomic.Int64

	mu         sync.Mutex
	conns      map[*Conn]struct{}
	peers      map[netip.Addr]*peer
	ended      chan struct{}
	begin, end sync.Once
}

// Option changes a listener that is being made.
type Option func(*Listener)

// OnClose calls a function for every connection that is closed because it exceeded the bounds.
func OnClose(closed func(Reason)) Option { return func(l *Listener) { l.closed = closed } }

// New wraps a listener and keeps its connections within bounds.
func New(listener net.Listener, bounds Bounds, options ...Option) *Listener {
	l := &Listener{
		Listener: listener, bounds: bounds, closed: func(Reason) {}, now: now,
		conns: map[*Conn]struct{}{}, peers: map[netip.Addr]*peer{}, ended: make(chan struct{}),
	}
	l.left.Store(bounds.Shared)
	for _, option := range options {
		option(l)
	}
	return l
}

// NewTLS is New for TLS: its connections are decrypted. A nil configuration means plain text. A server must treat
// HTTP/2 on these connections as unencrypted.
func NewTLS(listener net.Listener, bounds Bounds, secure *tls.Config, options ...Option) *Listener {
	l := New(listener, bounds, options...)
	if secure != nil {
		l.secure = secure.Clone()
		l.secure.NextProtos = bounds.protocols()
	}
	return l
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	l.begin.Do(func() { go l.sweep() })
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := newConn(l, raw)
		if l.secure != nil {
			c.encrypted = newEncrypted(c)
			c.Conn = tls.Server(c.encrypted, l.secure)
		}
		if l.admit(c) {
			return c, nil
		}
		l.closed(TooManyConnections)
		_ = raw.Close()
	}
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.end.Do(func() { close(l.ended) })
	return l.Listener.Close()
}

// admit registers a connection. If the port is full, it closes a less useful one, and reports false if there is none.
func (l *Listener) admit(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	address := network(c.raw.RemoteAddr())
	if c.peer = l.peers[address]; c.peer == nil {
		c.peer = &peer{address: address}
	}
	if len(l.conns) >= l.bounds.Connections {
		victim := l.leastUseful(c)
		if victim == nil {
			return false
		}
		victim.end(TooManyConnections)
		l.remove(victim)
	}
	l.conns[c] = struct{}{}
	c.peer.conns++
	l.peers[address] = c.peer
	return true
}

// remove unregisters a connection. The caller holds the lock.
func (l *Listener) remove(c *Conn) {
	if _, ok := l.conns[c]; !ok {
		return
	}
	delete(l.conns, c)
	c.peer.conns--
	if c.peer.conns == 0 {
		delete(l.peers, c.peer.address)
	}
}

// take takes shared memory for a connection, and reports whether it could. It may close other connections.
func (l *Listener) take(c *Conn, bytes int64) bool {
	const attempts = 8
	for range attempts {
		if l.left.Add(-bytes) >= 0 {
			return true
		}
		l.left.Add(bytes)
		if !l.makeRoom(c) {
			return false
		}
	}
	return false
}

// makeRoom closes the connection that has been stuck for the longest time, else the one that holds the most. It reports
// false if no other connection qualifies.
func (l *Listener) makeRoom(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.now()
	var stuck, greedy *Conn
	since, most := at-int64(recent), c.taken.Load()
	for other := range l.conns {
		taken := other.taken.Load()
		if other == c || taken == 0 {
			continue
		}
		if begun := other.stuckSince(); begun != 0 && begun < since {
			stuck, since = other, begun
		}
		if taken > most {
			greedy, most = other, taken
		}
	}
	victim := stuck
	if victim == nil {
		victim = greedy
	}
	if victim == nil {
		return false
	}
	victim.end(TooMuchMemory)
	return true
}

// sweep closes connections that have been stuck for longer than Timeout, until the listener is closed.
func (l *Listener) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.ended:
			return
		case <-tick.C:
		}
		l.mu.Lock()
		oldest := l.now() - int64(Timeout)
		for c := range l.conns {
			if begun := c.stuckSince(); begun != 0 && begun < oldest {
				c.end(TooSlow)
			}
		}
		l.mu.Unlock()
	}
}

// forget unregisters a connection that was closed.
func (l *Listener) forget(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(c)
}

var epoch = time.Now()

// now returns the time since the program started, in nanoseconds, plus one.
func now() int64 { return int64(time.Since(epoch)) + 1 }
