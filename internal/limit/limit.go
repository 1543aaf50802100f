// Package limit bounds what the connections of a port may hold in memory, whoever opens them: how many there are, and how much
// the requests under way on them take. What the servers themselves bound, such as the length of a header, they bound for one
// request; a port has thousands.
//
//	          ┌─────────────┐  decrypted   ┌──────┐  requests   ┌─────────────────────┐
//	client ──▶│ TLS, if any ├─────────────▶│ Conn ├────────────▶│ net/http or grpc-go │
//	          └─────────────┘              └──┬───┘             └─────────────────────┘
//	                                          │ counts what goes either way
//	                                          ▼
//	                             Listener: connections, shared memory
//
// A connection has some memory of its own, which is enough for what proxies usually ask. What its requests take beyond that comes out
// of what all connections of the port share. Where nothing is left, a connection that keeps others waiting is closed: the one
// whose request has been incomplete for the longest time, else the one that holds the most. So the worst case is a product that
// can be computed: see Bounds.WorstCase.
//
// How much a request takes is estimated, and never too low: by the bytes that came, and by how many header fields they can be.
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
	// Patience is how long a request may take to be complete once it has begun, and how long a write may be blocked.
	Patience = 10 * time.Second
	// unit is what shared memory is taken in, in bytes.
	unit = 64 << 10
	// sweepEvery is how often Patience is enforced.
	sweepEvery = time.Second
	// recent is how long ago a connection may have been answered, or become stuck, to be spared when there is no room for another.
	recent = 100 * time.Millisecond
	// answering is how long a connection is spared that waits for an answer.
	answering = 5 * time.Second
)

// Bounds are those of a port.
type Bounds struct {
	// Connections is how many there may be. Another one has a connection closed of who has the most.
	Connections int
	// Rest is what a connection holds in buffers and stacks, in bytes, when nothing is asked.
	Rest int64
	// Own is what the requests of one connection may hold before they need shared memory.
	Own int64
	// Shared is what the requests of all connections may hold in addition.
	Shared int64
	// Header is how long the header of a request may be, with 32 bytes added for each field, as HTTP/2 counts.
	Header int
	// Streams is how many requests a connection may have under way, where it is HTTP/2.
	Streams int
	// HTTP2 says that connections are HTTP/2 from the start. Otherwise they say what they are.
	HTTP2 bool
	// Lasting says that answers may take as long as they like: they are watches. Otherwise each is to be complete within Patience.
	Lasting bool
}

// WorstCase is what all connections together can hold at most, in bytes.
func (b Bounds) WorstCase() int64 { return int64(b.Connections)*(b.Rest+b.Own) + b.Shared }

// Reason is why a connection was closed.
type Reason string

const (
	// TooManyConnections is for one that gave way to another, or could not be had.
	TooManyConnections Reason = "connections"
	// TooMuchMemory is for one whose requests held too much.
	TooMuchMemory Reason = "memory"
	// TooSlow is for one with a request or an answer that took longer than Patience.
	TooSlow Reason = "slow"
	// Malformed is for one that exceeds what its protocol allows for: the size of a frame, a header, or the number of streams.
	Malformed Reason = "malformed"
)

// Reasons are all of them.
var Reasons = []Reason{TooManyConnections, TooMuchMemory, TooSlow, Malformed}

// Listener accepts connections within bounds.
type Listener struct {
	net.Listener

	bounds Bounds
	secure *tls.Config
	closed func(Reason)
	// now is a time in nanoseconds that is never 0.
	now func() int64
	// left is what is left of the shared memory.
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

// New returns a listener within bounds.
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

// NewTLS returns a listener of decrypted connections within bounds; a nil configuration is plain text. A server is to take
// HTTP/2 on them as if it were not encrypted.
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
			c.envelope = newEnvelope(c)
			c.Conn = tls.Server(c.envelope, l.secure)
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

// admit takes a connection in, for which another may have to go.
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

// remove is for the holder of the lock.
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

// take takes shared memory for a connection, for which another may have to go.
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

// makeRoom closes the connection that has been stuck for the longest time, else the one that holds the most, if that isn't
// the one which asks.
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

// sweep closes connections that have been stuck for too long.
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
		oldest := l.now() - int64(Patience)
		for c := range l.conns {
			if begun := c.stuckSince(); begun != 0 && begun < oldest {
				c.end(TooSlow)
			}
		}
		l.mu.Unlock()
	}
}

// forget is for a connection that was closed.
func (l *Listener) forget(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(c)
}

var epoch = time.Now()

// now is the time since this program began, in nanoseconds.
func now() int64 { return int64(time.Since(epoch)) + 1 }
