package kubeauth

import (
	"net/netip"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
)

const (
	// remembersPeers is how many peers are told apart, and for how long after they last asked. Who comes back later begins anew.
	remembersPeers = 1024
	peerFor        = time.Minute
	// peerPlaces is how many callers of one peer are asked about at a time, and places of all.
	peerPlaces, places = 4, 32
	// peerRate and peerBurst are how many callers of one peer are asked about in a second, and at once.
	peerRate, peerBurst = 5, 20
	// rate and burst are those of all peers; so the API server is asked no more often, however many tokens are made up.
	rate, burst = 25, 50
	// calm is how much of its burst a peer has left, what was refused included, that asks seldom. It may use what is kept for such
	// peers: as much again as there is for all. So much is kept for callers who were allowed before, too, of whom nobody can make one up.
	calm = peerBurst * 3 / 4
)

// bucket holds what may be done at once, and is filled at a rate.
type bucket struct {
	level, size float64
	at          time.Time
}

// fill brings the bucket up to date.
func (b *bucket) fill(now time.Time, perSecond float64) {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.level = min(b.level+passed*perSecond, b.size)
	}
	b.at = now
}

// spend takes one out, if there is any.
func (b *bucket) spend() { b.level = max(b.level-1, 0) }

// peer is who asks, by address.
type peer struct {
	// granted holds callers that may be asked about, and tried, for how often that is wanted.
	granted, tried bucket
	asking         int
}

// pool is what callers are asked about from.
type pool struct {
	bucket

	// asking is how many callers are being asked about.
	asking int
}

func newPool(now time.Time) pool { return pool{bucket: bucket{burst, burst, now}} }

// free reports whether there is a place.
func (p *pool) free(now time.Time) bool {
	p.fill(now, rate)
	return p.asking < places && p.level >= 1
}

// peers share what the API server may be asked. No peer gets more than its share; some is kept for those that ask seldom.
type peers struct {
	clock clock.Clock

	mu    sync.Mutex
	known *cache.LRUExpireCache
	// all is for everybody, seldom for peers that ask seldom, and before for callers who were allowed before.
	all, seldom, before pool
}

func newPeers(c clock.Clock) *peers {
	now := c.Now()
	return &peers{
		clock: c,
		known: cache.NewLRUExpireCacheWithClock(remembersPeers, c),
		all:   newPool(now), seldom: newPool(now), before: newPool(now),
	}
}

// admission says whether a caller may be asked about.
type admission int

const (
	admitted admission = iota
	// tooMany is for a peer that has had its share, and busy for one that has not.
	tooMany
	busy
)

// admit takes a place for a caller from an address, who may have been allowed before. Release gives it back; it is nil where
// there was none. Nobody waits for a place.
func (p *peers) admit(address netip.Addr, before bool) (release func(), result admission) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	from := p.find(address, now)
	seldom := from.tried.level >= calm
	from.tried.spend()
	if !before && (from.asking >= peerPlaces || from.granted.level < 1) {
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

// take takes a place from a pool, and returns what gives it back.
func (p *peers) take(from *peer, pool *pool) func() {
	pool.spend()
	pool.asking++
	from.granted.spend()
	from.asking++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		from.asking--
		pool.asking--
	}
}

// find returns the peer of an address. An IPv6 network of 64 bits is one: whoever has an address in it has all.
func (p *peers) find(address netip.Addr, now time.Time) *peer {
	address = address.Unmap().WithZone("")
	if address.Is6() {
		network, _ := address.Prefix(64) // There is no IPv6 address without one.
		address = network.Addr()
	}
	found, ok := p.known.Get(address)
	from, _ := found.(*peer)
	if !ok {
		full := bucket{peerBurst, peerBurst, now}
		from = &peer{granted: full, tried: full}
	}
	p.known.Add(address, from, peerFor) // Anew, so that it is the last that is forgotten.
	from.granted.fill(now, peerRate)
	from.tried.fill(now, peerRate)
	return from
}
