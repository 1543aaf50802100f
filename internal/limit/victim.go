package limit

import (
	"math/bits"
	"net"
	"net/netip"
)

// peer is who connects, by address.
type peer struct {
	address netip.Addr
	// conns is how many connections it has.
	conns int
}

// size tells peers apart that have twice as many connections as others.
func (p *peer) size() int { return bits.Len(uint(p.conns)) }

// network is what peers are told apart by: an address, or an IPv6 network of 64 bits, of which one machine may have all.
func network(remote net.Addr) netip.Addr {
	parsed, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Addr{} // It is no address of IP.
	}
	address := parsed.Addr().Unmap().WithZone("")
	if address.Is6() {
		prefix, _ := address.Prefix(64) // There is no IPv6 address without one.
		return prefix.Addr()
	}
	return address
}

// use is how much would be lost with a connection, the least first.
type use int

const (
	// unused connections were never answered, although there was time.
	unused use = iota
	// idle ones were, a while ago.
	idle
	// fresh ones were accepted or answered only now.
	fresh
	// waiting ones have asked, and wait for an answer.
	waiting
)

// use returns of what use a connection is, and since when.
func (c *Conn) use(at int64) (use, int64) {
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

// leastUseful returns the connection that is to go for another: one of a peer that has the most, and of those the one of least use
// for the longest time. Nothing goes for a peer that has more, and what waits for an answer only for one that has far less. It
// is for the holder of the lock.
func (l *Listener) leastUseful(newcomer *Conn) *Conn {
	at := l.now()
	var victim *Conn
	var of use
	var since int64
	for c := range l.conns {
		use, last := c.use(at)
		size, own := c.peer.size(), newcomer.peer.size()
		if size < own || use == waiting && size == own {
			continue
		}
		if victim != nil && !before(c.peer.size(), victim.peer.size(), use, of, last, since) {
			continue
		}
		victim, of, since = c, use, last
	}
	return victim
}

// before says whether a connection goes before another.
func before(size, otherSize int, use, otherUse use, last, otherLast int64) bool {
	switch {
	case size != otherSize:
		return size > otherSize
	case use != otherUse:
		return use < otherUse
	}
	return last < otherLast
}
