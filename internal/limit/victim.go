package limit

import (
	"math/bits"
	"net"
	"net/netip"
)

// peer is an address that connections come from.
type peer struct {
	address netip.Addr
	// conns is how many connections it has.
	conns int
}

// size returns the magnitude of the number of connections: it grows by one when that doubles.
func (p *peer) size() int { return bits.Len(uint(p.conns)) }

// network returns the address that identifies a peer: an IPv4 address, or a /64 of IPv6, all of which one machine may
// have.
func network(remote net.Addr) netip.Addr {
	parsed, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Addr{} // It is not an IP address.
	}
	address := parsed.Addr().Unmap().WithZone("")
	if address.Is6() {
		prefix, _ := address.Prefix(64) // Every IPv6 address has one.
		return prefix.Addr()
	}
	return address
}

// usefulness is how much would be lost by closing a connection, the least first.
type usefulness int

const (
	// unused connections were never answered, although there was time.
	unused usefulness = iota
	// idle connections were last answered a while ago.
	idle
	// fresh connections were accepted or answered just now.
	fresh
	// waiting connections have a request that is not answered yet.
	waiting
)

// usefulness returns how useful a connection is, and since when.
func (c *Conn) usefulness(at int64) (usefulness, int64) {
	answered, asked := c.answered.Load(), c.asked.Load()
	last := max(answered, c.accepted)
	switch {
	case asked != 0 && at-asked < int64(answering):
		return waiting, asked
	case at-last < int64(recent):
		return fresh, last
	case answered == 0:
		return unused, last
	}
	return idle, last
}

// leastUseful returns the connection to close for a newcomer: one of a peer with the most connections, and of those the
// one that has been least useful for the longest time. It never returns one of a peer that has fewer connections than
// the newcomer's, and one that waits for a response only if its peer has far more. The caller holds the lock.
func (l *Listener) leastUseful(newcomer *Conn) *Conn {
	at := l.now()
	var victim *Conn
	var least usefulness
	var since int64
	for c := range l.conns {
		useful, last := c.usefulness(at)
		size, own := c.peer.size(), newcomer.peer.size()
		if size < own || useful == waiting && size == own {
			continue
		}
		if victim != nil && !before(c.peer.size(), victim.peer.size(), useful, least, last, since) {
			continue
		}
		victim, least, since = c, useful, last
	}
	return victim
}

// before reports whether a connection is to be closed before another.
func before(size, otherSize int, useful, otherUseful usefulness, last, otherLast int64) bool {
	switch {
	case size != otherSize:
		return size > otherSize
	case useful != otherUseful:
		return useful < otherUseful
	}
	return last < otherLast
}
