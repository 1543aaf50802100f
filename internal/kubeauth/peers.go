package kubeauth

import (
	"net/netip"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
)

const (
	// maxPeers is how many peers are distinguished, and peerFor for how long after their last call. A peer that comes back
	// later starts again.
	maxPeers = 1024
	peerFor  = time.Minute
	// peerConcurrency is how many callers of one peer the API server is asked about at the same time, and concurrency of
	// all.
	peerConcurrency, concurrency = 4, 32
	// peerRate and peerBurst are how many callers of one peer the API server is asked about per second, and at once.
	peerRate, peerBurst = 5, 20
	// rate and burst are those of all peers. They bound the requests to the API server, however many tokens are made up.
	rate, burst = 25, 50
	// quiet is how much of its burst, refused calls included, a peer that calls rarely has left. Such peers have a pool of
	// their own, as large as the one for all. So have callers who were allowed before, which nobody can make up.
	quiet = peerBurst * 3 / 4
)

// bucket is a token bucket.
type bucket struct {
	level, size float64
	at          time.Time
}

// fill adds what has accrued since the last call.
func (b *bucket) fill(now time.Time, perSecond float64) {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.level = min(b.level+passed*perSecond, b.size)
	}
	b.at = now
}

// spend takes one out, if there is one.
func (b *bucket) spend() { b.level = max(b.level-1, 0) }

// peer is an address that callers come from.
type peer struct {
	// granted limits how many of its callers the API server is asked about, and tried measures how many there are.
	granted, tried bucket
	asking         int
}

// pool is a share of the requests to the API server.
type pool struct {
	bucket

	// asking is how many callers the API server is being asked about.
	asking int
}

func newPool(now time.Time) pool { return pool{bucket: bucket{burst, burst, now}} }

// free reports whether another caller may be asked about.
func (p *pool) free(now time.Time) bool {
	p.fill(now, rate)
	return p.asking < concurrency && p.level >= 1
}

// peers share the requests to the API server. No peer gets more than its share, and some are reserved for peers that
// call rarely.
type peers struct {
	clock clock.Clock

	mu    sync.Mutex
	known *cache.LRUExpireCache
	// all is for every peer, seldom for peers that call rarely, and before for callers who were allowed before.
	all, seldom, before pool
}

func newPeers(c clock.Clock) *peers {
	now := c.Now()
	return &peers{
		clock: c,
		known: cache.NewLRUExpireCacheWithClock(maxPeers, c),
		all:   newPool(now), seldom: newPool(now), before: newPool(now),
	}
}

// admission says whether the API server may be asked about a caller.
type admission int

const (
	admitted admission = iota
	// tooMany means that the peer has used up its share, and busy that the pools are used up.
	tooMany
	busy
)

// admit takes a share for a caller from an address, who may have been allowed before. Release gives it back; it is nil
// if the caller is not admitted.
func (p *peers) admit(address netip.Addr, before bool) (release func(), result admission) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	from := p.find(address, now)
	seldom := from.tried.level >= quiet
	from.tried.spend()
	if !before && (from.asking >= peerConcurrency || from.granted.level < 1) {
		return nil, tooMany
	}
	switch {
	case p.all.free(now):
		release = p.take(from, &p.all)
	case from.asking == 0 && seldom && p.seldom.free(now):
		release = p.take(from, &p.seldom)
	case before && p.before.free(now):
		release = p.take(from, &p.before)
	default:
		return nil, busy
	}
	return release, admitted
}

// take takes a share from a pool, and returns a function that gives it back.
func (p *peers) take(from *peer, share *pool) func() {
	share.spend()
	share.asking++
	from.granted.spend()
	from.asking++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		from.asking--
		share.asking--
	}
}

// find returns the peer of an address. A /64 of IPv6 is one peer, because one machine may have all of it.
func (p *peers) find(address netip.Addr, now time.Time) *peer {
	address = address.Unmap().WithZone("")
	if address.Is6() {
		network, _ := address.Prefix(64) // Every IPv6 address has one.
		address = network.Addr()
	}
	found, ok := p.known.Get(address)
	from, _ := found.(*peer)
	if !ok {
		full := bucket{peerBurst, peerBurst, now}
		from = &peer{granted: full, tried: full}
	}
	p.known.Add(address, from, peerFor) // Added again, so that it becomes the most recently used.
	from.granted.fill(now, peerRate)
	from.tried.fill(now, peerRate)
	return from
}
