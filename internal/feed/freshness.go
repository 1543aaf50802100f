package feed

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// proofStream is the stream of changes of one kind. The freshness of each is proved on its own.
type proofStream int

const (
	apiKeys proofStream = iota
	tenants
	policies
	streams
)

// freshness holds, for each stream, the latest time up to which all committed changes are known to have been applied.
// Readers take one atomic load.
type freshness struct {
	bound time.Duration

	mu     sync.Mutex
	asOf   [streams]time.Time
	oldest atomic.Pointer[time.Time]
	synced atomic.Bool
	// rolledBack is set once the API server has gone back in time. From then on nothing can be trusted.
	rolledBack atomic.Bool
	// signedOff is set once the verifier has signed off.
	signedOff atomic.Bool
	// contested is the time until which probes of another process may be taken for this one's; nil if there is none.
	contested  atomic.Pointer[time.Time]
	keysListed bool
}

func newFreshness(bound time.Duration) *freshness {
	f := &freshness{bound: bound}
	f.oldest.Store(&time.Time{})
	return f
}

// keysSynced records that all ApiKeys have been listed once.
func (f *freshness) keysSynced() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keysListed = true
	f.update()
}

// prove records that everything committed before t has been applied. A late proof never moves the time back.
func (f *freshness) prove(s proofStream, t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.After(f.asOf[s]) {
		f.asOf[s] = t
		f.update()
	}
}

// update recomputes oldest and synced.
func (f *freshness) update() {
	oldest := f.asOf[0]
	for _, t := range f.asOf[1:] {
		if t.Before(oldest) {
			oldest = t
		}
	}
	f.oldest.Store(&oldest)
	f.synced.Store(f.keysListed && !f.asOf[tenants].IsZero() && !f.asOf[policies].IsZero())
}

// at reports whether the index is current enough to decide at a given time.
func (f *freshness) at(now time.Time) verify.Freshness {
	if !f.synced.Load() {
		return verify.NotSynced
	}
	if f.rolledBack.Load() || f.signedOff.Load() {
		return verify.Stale
	}
	if until := f.contested.Load(); until != nil && now.Before(*until) {
		return verify.Contested
	}
	if oldest := *f.oldest.Load(); oldest.IsZero() || age(oldest, now) > f.bound {
		return verify.Stale
	}
	return verify.Fresh
}

// age returns how long ago t was, by the monotonic clock or the wall clock, whichever is longer. The monotonic clock
// stands still while a virtual machine is suspended, and the wall clock can be set back.
func age(t, now time.Time) time.Duration {
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}
