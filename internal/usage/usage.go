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
//   - A time that has not come is nobody's word: it is neither believed nor written, and the next use replaces it.
//   - A write replaces the whole list, so what is in it of credentials that are gone goes with it.
//
// Of most keys there is nothing to be written: all that is kept of those is an entry in an archive, and meters.
//
// What is lost with a process, or with an API server that is away, is precision and nothing else.
package usage

import (
	"slices"
	"sync"
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
	numbers numbers

	mu sync.Mutex
	// objects are those that wait to be written, are being written, or are gone for the API server and not yet for the feed;
	// all others are at rest.
	objects map[string]*object
	atRest  archive
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
	// credentials are in the order of the key's status.
	credentials []credential
	// lastUsed is status.lastUsedTime, in seconds since 1970 as all times here; 0 for never.
	lastUsed int64
	// ours is what this replica wrote to lastUsed itself, if it was the last to write.
	ours bool
	gone bool
	// place is where it is in the queue; nil for one that is neither there nor being written.
	*place
}

// credential is one of an object's, with what notes its uses.
type credential struct {
	id     string
	number index.Meter
	*meter
}

// Used notes a use of a credential, whose meter has the number. It neither waits nor allocates.
func (r *Recorder) Used(number index.Meter, now time.Time) {
	r.numbers.used(number, now)
}

// Apply takes in an ApiKey as it now is. What it returns finds the number of the meter of each of its credentials.
func (r *Recorder) Apply(key *keysv1alpha1.ApiKey) func(credentialID string) index.Meter {
	name := key.Namespace + "/" + key.Name
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == r.options.Canary.String() {
		r.peers.observe(key, r.options.Clock())
	}
	o := r.find(name)
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
	}
	o.version = key.ResourceVersion
	r.adopt(o, key)
	if key.DeletionTimestamp != nil || !o.due() {
		r.queue.remove(o)
	}
	o.gone = key.DeletionTimestamp != nil
	r.keep(o)
	return o.number
}

// adopt makes an object's credentials those of the key, and takes in what its status says of them.
func (r *Recorder) adopt(o *object, key *keysv1alpha1.ApiKey) {
	now := r.options.Clock()
	o.credentials = slices.DeleteFunc(o.credentials, func(c credential) bool {
		if slices.ContainsFunc(key.Status.Credentials, func(of keysv1alpha1.Credential) bool { return of.ID == c.id }) {
			return false
		}
		r.numbers.take(c.number, now)
		return true
	})
	for i := range key.Status.Credentials {
		id := key.Status.Credentials[i].ID
		if !slices.ContainsFunc(o.credentials, func(c credential) bool { return c.id == id }) {
			number, meter := r.numbers.give(r.atRest.hash(o.name), now)
			o.credentials = append(o.credentials, credential{id, number, meter})
		}
	}
	for _, c := range o.credentials {
		if c.ahead(now.Unix()) {
			r.numbers.reset(c.number, 0)
		}
	}
	for _, usage := range key.Status.Usage {
		for _, c := range o.credentials {
			if c.id == usage.ID {
				c.know(bounded(usage.LastUsedTime.Unix(), now.Unix()))
			}
		}
	}
	o.lastUsed = bounded(o.lastUsed, now.Unix())
	if key.Status.LastUsedTime == nil {
		return
	}
	if last := bounded(key.Status.LastUsedTime.Unix(), now.Unix()); last > o.lastUsed {
		o.lastUsed, o.ours = last, false
	}
}

// find returns an object that is known, or nil. It is at rest no more, until it is kept or dropped.
func (r *Recorder) find(name string) *object {
	if o := r.objects[name]; o != nil {
		return o
	}
	return r.awaken(r.atRest.takeNamed(name))
}

// awaken gives an object that was at rest, if there is one, what it lacks.
func (r *Recorder) awaken(o *object) *object {
	if o == nil {
		return nil
	}
	for i := range o.credentials {
		o.credentials[i].meter = r.numbers.at(o.credentials[i].number)
	}
	return o
}

// keep keeps an object: at rest where there is nothing to do.
func (r *Recorder) keep(o *object) {
	if o.gone || o.queued() {
		r.objects[o.name] = o
		return
	}
	o.place = nil
	delete(r.objects, o.name)
	r.atRest.put(o)
}

// Forget forgets an ApiKey that is gone.
func (r *Recorder) Forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.find(name); o != nil {
		r.drop(o)
	}
}

// Retain forgets the ApiKeys that are not among those present.
func (r *Recorder) Retain(present map[string]struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var absent []string
	for name := range r.objects {
		if _, ok := present[name]; !ok {
			absent = append(absent, name)
		}
	}
	r.atRest.names(func(name []byte) {
		if _, ok := present[string(name)]; !ok {
			absent = append(absent, string(name))
		}
	})
	for _, name := range absent {
		r.drop(r.find(name))
	}
}

// drop drops an object that was found.
func (r *Recorder) drop(o *object) {
	o.gone = true
	r.queue.remove(o)
	for _, c := range o.credentials {
		r.numbers.take(c.number, r.options.Clock())
	}
	delete(r.objects, o.name)
}

// number returns the number of the meter of a credential, or 0.
func (o *object) number(id string) index.Meter {
	for _, c := range o.credentials {
		if c.id == id {
			return c.number
		}
	}
	return 0
}

// due says whether there is anything to write.
func (o *object) due() bool {
	return slices.ContainsFunc(o.credentials, func(c credential) bool { return c.due() })
}

// oldest is what status says of the credential, among those that are to be written, that it says the oldest of.
func (o *object) oldest() int64 {
	oldest := o.lastUsed
	for _, c := range o.credentials {
		if c.due() {
			oldest = min(oldest, c.written.Load())
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
	more = r.numbers.look(atOnce, func(number index.Meter, m *meter) {
		if !m.due() {
			return
		}
		// One that is not at rest is in the queue already, or gone.
		if o := r.awaken(r.atRest.takeNumbered(m.hash, number)); o != nil {
			o.place = &place{}
			turn := r.peers.turn(o, now)
			r.queue.add(o, now, now.Add(grace(turn, r.peers.count)), o.oldest()+int64(turn)*resolution)
			r.keep(o)
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
		r.keep(o)
	}
}

// Compact moves together what is known of keys, once many have come.
func (r *Recorder) Compact() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.atRest.compact()
}
