// Package usage notes when each credential was last used, and writes it to the status of its ApiKey.
//
//	                      once in 10 s, if at all            paced by the budget
//	decision ──▶ meter ──────────────────────▶ queue ──────────────────────────▶ API server
//	              two atomic loads               ▲  oldest first                     │
//	                                             └── what replicas have written ◀────┘ watch (the feed)
//
// A decision only ever touches its credential's meter, which neither waits nor allocates. All else happens behind it:
//
//   - What is in status to within the resolution, whoever wrote it, isn't written again.
//   - Replicas that see the same traffic take turns: the one that wrote a key last writes it again, and among those that
//     have not, their names' hashes with the key decide. The others write only what is still missing a while later.
//   - Every write carries the resourceVersion that it is based on, so no replica takes back what another has written,
//     whatever their clocks say, and of two that write at the same time one is told of a conflict and finds nothing left
//     to do.
//   - The budget is for all replicas together. Beyond it the keys wait whose status is the youngest, so all of them grow
//     old alike.
//   - A write replaces the whole list, so what is in it of credentials that are gone goes with it.
//
// What is lost with a process, or with an API server that is away, is precision and nothing else.
package usage

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// Resolution is how much later than what status says a use must be to be written.
const Resolution = 10 * time.Second

const resolution = int64(Resolution / time.Second)

// atOnce is how many objects are put into the queue while the feed waits.
const atOnce = 500

// Recorder notes uses, and writes them back while it runs. It is told of every ApiKey by the feed.
type Recorder struct {
	options Options
	patch   patcher
	metrics *recorderMetrics
	// fresh are the meters that have been used since the last look.
	fresh   stack
	numbers numbers

	mu      sync.Mutex
	objects map[string]*object
	queue   queue
	peers   peers
	// pausedUntil is until when nothing is written, because the API server asked for that or is not to be had; failures
	// are how often in a row.
	pausedUntil time.Time
	failures    int
	// last is when the last write began, and underWay how many have begun and not ended.
	last     time.Time
	underWay int
}

// object is an ApiKey, the unit of what is written.
type object struct {
	// name is its namespace and name, with a slash between.
	name string
	uid  types.UID
	// version is the resourceVersion of what is known of it.
	version string
	meters  []*meter
	// lastUsed is status.lastUsedTime, in seconds since 1970 as all times here; 0 for never.
	lastUsed int64
	// ours is what this replica wrote to lastUsed itself, if it was the last to write.
	ours bool
	gone bool
	// place is where it is in the queue; nil for one that is neither there nor being written, as most are.
	*place
}

// meter notes the uses of one credential.
type meter struct {
	object *object
	id     string
	number index.Meter
	// next is from when on a use is to be written.
	next atomic.Int64
	used atomic.Int64
	// queued says that the meter is on the stack, next to link.
	queued atomic.Bool
	link   *meter
	stack  *stack
	// written is what status says.
	written int64
}

// Used notes a use of a credential, whose meter has the number. It neither waits nor allocates.
func (r *Recorder) Used(number index.Meter, now time.Time) {
	r.numbers.used(number, now)
}

// Used notes a use, and returns from when on the next is news, in seconds since 1970.
func (m *meter) Used(now time.Time) (next int64) {
	second := now.Unix()
	if next = m.next.Load(); second < next {
		return next
	}
	for {
		used := m.used.Load()
		if second <= used {
			return used + 1
		}
		if m.used.CompareAndSwap(used, second) {
			break
		}
	}
	// After used: whoever takes the meter off the stack first says so, and then reads used.
	if m.queued.CompareAndSwap(false, true) {
		m.stack.push(m)
	}
	return second + 1
}

// due says whether there is a use to be written.
func (m *meter) due() bool { return m.used.Load() >= m.written+resolution }

// know takes in what status says. It never goes back: what comes from the watch may be older than what was just written.
func (m *meter) know(written int64) {
	if written > m.written {
		m.written = written
		m.next.Store(written + resolution)
	}
}

// stack holds meters without a lock and without allocating.
type stack struct {
	top atomic.Pointer[meter]
	// rest are those that have been taken off and not looked at.
	rest *meter
}

func (s *stack) push(m *meter) {
	for {
		m.link = s.top.Load()
		if s.top.CompareAndSwap(m.link, m) {
			return
		}
	}
}

// take takes a number of meters off the stack, and says whether there are more. For one caller at a time.
func (s *stack) take(number int, each func(*meter)) (more bool) {
	if s.rest == nil {
		s.rest = s.top.Swap(nil)
	}
	for ; s.rest != nil && number > 0; number-- {
		m := s.rest
		s.rest, m.link = m.link, nil
		m.queued.Store(false)
		each(m)
	}
	return s.rest != nil
}

// Apply takes in an ApiKey as it now is. What it returns finds the number of the meter of each of its credentials.
func (r *Recorder) Apply(key *keysv1alpha1.ApiKey) func(credentialID string) index.Meter {
	name := key.Namespace + "/" + key.Name
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == r.options.Canary.String() {
		r.peers.observe(key, r.options.Clock())
	}
	o := r.objects[name]
	if o != nil && o.uid != key.UID {
		r.drop(o)
		o = nil
	}
	if len(key.Status.Credentials) == 0 {
		if o != nil {
			r.drop(o)
		}
		return func(string) index.Meter { return 0 }
	}
	if o == nil {
		o = &object{name: name, uid: key.UID}
		r.objects[name] = o
	}
	o.version = key.ResourceVersion
	r.adopt(o, key)
	if key.DeletionTimestamp != nil || !o.due() {
		r.queue.remove(o)
	}
	o.gone = key.DeletionTimestamp != nil
	return o.meter
}

// adopt makes an object's meters those of the key's credentials, and takes in what its status says of them.
func (r *Recorder) adopt(o *object, key *keysv1alpha1.ApiKey) {
	o.meters = slices.DeleteFunc(o.meters, func(m *meter) bool {
		if slices.ContainsFunc(key.Status.Credentials, func(c keysv1alpha1.Credential) bool { return c.ID == m.id }) {
			return false
		}
		r.numbers.take(m, r.options.Clock())
		return true
	})
	for i := range key.Status.Credentials {
		id := key.Status.Credentials[i].ID
		if !slices.ContainsFunc(o.meters, func(m *meter) bool { return m.id == id }) {
			m := &meter{object: o, id: id, stack: &r.fresh}
			r.numbers.give(m, r.options.Clock())
			o.meters = append(o.meters, m)
		}
	}
	for _, usage := range key.Status.Usage {
		for _, m := range o.meters {
			if m.id == usage.ID {
				m.know(usage.LastUsedTime.Unix())
			}
		}
	}
	if key.Status.LastUsedTime != nil && key.Status.LastUsedTime.Unix() > o.lastUsed {
		o.lastUsed, o.ours = key.Status.LastUsedTime.Unix(), false
	}
}

// Forget forgets an ApiKey that is gone.
func (r *Recorder) Forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.objects[name]; o != nil {
		r.drop(o)
	}
}

// Retain forgets the ApiKeys that are not among those present.
func (r *Recorder) Retain(present map[string]struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, o := range r.objects {
		if _, ok := present[name]; !ok {
			r.drop(o)
		}
	}
}

func (r *Recorder) drop(o *object) {
	o.gone = true
	r.queue.remove(o)
	for _, m := range o.meters {
		r.numbers.take(m, r.options.Clock())
	}
	delete(r.objects, o.name)
}

func (o *object) meter(id string) index.Meter {
	for _, m := range o.meters {
		if m.id == id {
			return m.number
		}
	}
	return 0
}

// due says whether there is anything to write.
func (o *object) due() bool { return slices.ContainsFunc(o.meters, (*meter).due) }

// oldest is what status says of the credential, among those that are to be written, that it says the oldest of.
func (o *object) oldest() int64 {
	oldest := o.lastUsed
	for _, m := range o.meters {
		if m.due() {
			oldest = min(oldest, m.written)
		}
	}
	return oldest
}

// collect puts into the queue what has been used since the last time. It lets the feed in between: what is revoked must not
// wait for this.
func (r *Recorder) collect() {
	for r.collectSome() {
		continue
	}
}

func (r *Recorder) collectSome() (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.options.Clock()
	more = r.fresh.take(atOnce, func(m *meter) {
		if o := m.object; !o.gone && !o.queued() && o.due() {
			o.place = &place{}
			turn := r.peers.turn(o, now)
			r.queue.add(o, now, now.Add(grace(turn, r.peers.count)), o.oldest()+int64(turn)*resolution)
		}
	})
	return r.queue.promote(now, atOnce) || more
}

// pick takes the object out of the queue that is to be written next, if any may be now.
func (r *Recorder) pick(now time.Time) *object {
	if now.Before(r.pausedUntil) {
		return nil
	}
	for {
		o := r.queue.next()
		if o == nil || o.due() {
			return o
		}
	}
}
