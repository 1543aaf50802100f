// Package usage records when each credential was last used, and writes it to the status of its ApiKey.
//
//	                     at most once in 10 s                paced by the budget
//	decision ──▶ slot ──────────────────────▶ queue ──────────────────────────▶ API server
//	              two atomic loads               ▲  oldest status first              │
//	                                             └── what replicas have written ◀────┘ watch (the feed)
//
// A decision touches only the usage slot of its credential, and neither waits nor allocates. Everything else happens in
// the background:
//
//   - A time is not written if status already has it to within the resolution, whichever replica wrote it.
//   - Replicas that see the same traffic don't write the same keys. The one that last wrote a key writes it again. If
//     none has, hashes of the key and the replicas' names decide. The others write only what is still missing a while
//     later.
//   - Every write carries the resourceVersion that it is based on. So no replica overwrites a later time, whatever its
//     clock says. If two write at once, one gets a conflict and then finds nothing left to do.
//   - The budget is shared by all replicas. When it is exhausted, the keys with the oldest status are written first, so
//     the status of all keys ages evenly.
//   - A time in the future is neither trusted nor written. The next use replaces it.
//   - A write replaces the whole list, so it also removes the times of credentials that no longer exist.
//
// Most keys have nothing to be written. They are kept in serialized form in the idle store, and only their slots are
// ordinary memory.
//
// If a process ends or the API server is away, nothing is lost but precision.
package usage

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// Resolution is how much later than the time in status a use must be to be written.
const Resolution = 10 * time.Second

const resolution = int64(Resolution / time.Second)

// batchSize is how many objects are put into the queue at a time, while the lock is held and the feed waits.
const batchSize = 500

// Recorder records uses, and writes them back while it runs. The feed passes every ApiKey to it.
type Recorder struct {
	options Options
	patch   patcher
	metrics *recorderMetrics
	slots   slots

	mu sync.Mutex
	// objects are those that wait to be written, are being written, or are deleted on the API server but not yet by the
	// feed. All others are in idle.
	objects map[string]*object
	idle    idleStore
	queue   queue
	peers   peers
	// pausedUntil is the time before which nothing is written, because the API server asked for a pause or can't be
	// reached. failures counts failed writes in a row.
	pausedUntil time.Time
	failures    int
	// last is when the last write began. inFlight counts writes that have begun and not ended.
	last     time.Time
	inFlight int
}

// object is what the recorder knows of an ApiKey. Usage is written one object at a time.
type object struct {
	// name is the ApiKey's namespace and name, separated by a slash.
	name string
	uid  types.UID
	// version is the latest resourceVersion that the recorder has seen.
	version string
	// credentials are in the order of the key's status.
	credentials []credential
	// lastUsed is status.lastUsedTime in seconds since 1970, as are all times here; 0 means never.
	lastUsed int64
	// ours reports whether lastUsed was written by this replica.
	ours bool
	// gone reports whether the ApiKey is deleted or being deleted.
	gone bool
	// pendingWrite is nil unless the object is in the queue or being written.
	*pendingWrite
}

// credential is one credential of an object, and the slot that records its uses.
type credential struct {
	id         string
	slotNumber index.UsageSlot
	*slot
}

// Used records a use of the credential that has the slot. It neither waits nor allocates.
func (r *Recorder) Used(number index.UsageSlot, now time.Time) {
	r.slots.recordUse(number, now)
}

// Apply updates the recorder with the current state of an ApiKey. It returns a function that finds the slot of each of
// the key's credentials.
func (r *Recorder) Apply(key *keysv1alpha1.ApiKey) func(credentialID string) index.UsageSlot {
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
		return func(string) index.UsageSlot { return 0 }
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
	return o.slotNumber
}

// adopt updates an object with the key's credentials and the times in its status.
func (r *Recorder) adopt(o *object, key *keysv1alpha1.ApiKey) {
	now := r.options.Clock()
	o.credentials = slices.DeleteFunc(o.credentials, func(c credential) bool {
		if slices.ContainsFunc(key.Status.Credentials, func(of keysv1alpha1.Credential) bool { return of.ID == c.id }) {
			return false
		}
		r.slots.release(c.slotNumber, now)
		return true
	})
	for i := range key.Status.Credentials {
		id := key.Status.Credentials[i].ID
		if !slices.ContainsFunc(o.credentials, func(c credential) bool { return c.id == id }) {
			number, s := r.slots.acquire(r.idle.hash(o.name), now)
			o.credentials = append(o.credentials, credential{id, number, s})
		}
	}
	for _, c := range o.credentials {
		if c.inFuture(now.Unix()) {
			r.slots.reset(c.slotNumber, 0)
		}
	}
	for _, usage := range key.Status.Usage {
		for _, c := range o.credentials {
			if c.id == usage.ID {
				c.observeWritten(bounded(usage.LastUsedTime.Unix(), now.Unix()))
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

// find returns an object, or nil if there is none of that name. It takes the object out of the idle store; the caller
// then keeps or drops it.
func (r *Recorder) find(name string) *object {
	if o := r.objects[name]; o != nil {
		return o
	}
	return r.load(r.idle.takeNamed(name))
}

// load attaches the slots to an object that was taken out of the idle store. The object may be nil.
func (r *Recorder) load(o *object) *object {
	if o == nil {
		return nil
	}
	for i := range o.credentials {
		o.credentials[i].slot = r.slots.at(o.credentials[i].slotNumber)
	}
	return o
}

// keep stores an object: in the idle store if there is nothing to do.
func (r *Recorder) keep(o *object) {
	if o.gone || o.queued() {
		r.objects[o.name] = o
		return
	}
	o.pendingWrite = nil
	delete(r.objects, o.name)
	r.idle.put(o)
}

// Forget removes an ApiKey that was deleted.
func (r *Recorder) Forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.find(name); o != nil {
		r.drop(o)
	}
}

// Retain removes all ApiKeys whose names are not in present.
func (r *Recorder) Retain(present map[string]struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var absent []string
	for name := range r.objects {
		if _, ok := present[name]; !ok {
			absent = append(absent, name)
		}
	}
	r.idle.eachName(func(name []byte) {
		if _, ok := present[string(name)]; !ok {
			absent = append(absent, string(name))
		}
	})
	for _, name := range absent {
		r.drop(r.find(name))
	}
}

// drop removes an object that find has returned.
func (r *Recorder) drop(o *object) {
	o.gone = true
	r.queue.remove(o)
	for _, c := range o.credentials {
		r.slots.release(c.slotNumber, r.options.Clock())
	}
	delete(r.objects, o.name)
}

// slotNumber returns the slot of a credential, or 0.
func (o *object) slotNumber(id string) index.UsageSlot {
	for _, c := range o.credentials {
		if c.id == id {
			return c.slotNumber
		}
	}
	return 0
}

// due reports whether the object has a use to be written.
func (o *object) due() bool {
	return slices.ContainsFunc(o.credentials, func(c credential) bool { return c.due() })
}

// oldest returns the earliest time in status among those that have to be replaced.
func (o *object) oldest() int64 {
	oldest := o.lastUsed
	for _, c := range o.credentials {
		if c.due() {
			oldest = min(oldest, c.written.Load())
		}
	}
	return oldest
}

// collect puts the objects that have been used since its last call into the queue. It releases the lock between
// batches, so that the feed, and with it a revocation, doesn't wait for all of them.
func (r *Recorder) collect() {
	for r.collectSome() {
		continue
	}
}

func (r *Recorder) collectSome() (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.options.Clock()
	more = r.slots.popUsed(batchSize, func(number index.UsageSlot, s *slot) {
		if !s.due() {
			return
		}
		// An object that is not in the idle store is in the queue already, or gone.
		if o := r.load(r.idle.takeWithSlot(s.hash, number)); o != nil {
			o.pendingWrite = &pendingWrite{}
			ahead := r.peers.replicasAhead(o, now)
			r.queue.add(o, now, now.Add(grace(ahead, r.peers.count)), o.oldest()+int64(ahead)*resolution)
			r.keep(o)
		}
	})
	return r.queue.promote(now, batchSize) || more
}

// pick takes the next object to write out of the queue. It returns nil if nothing may be written now.
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

// Compact reduces the memory that the idle store takes. Call it after many keys have been added.
func (r *Recorder) Compact() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle.compact()
}
