// Package rollout knows how far verifiers have come with a change to a key: which verifiers may be answering requests,
// and what each of them has applied. It learns that from their probes on the canary (see internal/probe), and keeps the
// list of verifiers in a Lease for the next process.
//
//	canary ─ watch ── Observe ─┐
//	       └ live ─── refresh ─┤
//	Lease ─ registry ─ load ───┴ roster ── Applied    may the token be published?  (S8)
//	                                   └── Progress   is the revocation effective? (S1)
package rollout

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
)

// Verifiers knows which verifiers may be answering and how far each has come.
type Verifiers struct {
	writer client.Client
	// live reads past the cache: from an outdated canary, a live verifier would look silent.
	live   client.Reader
	canary types.NamespacedName
	clock  clock.PassiveClock

	// registryMu guards registry, and is locked before mu.
	registryMu sync.Mutex
	registry   registry
	// loaded is set once the roster holds what earlier processes knew.
	loaded atomic.Bool

	mu sync.Mutex
	// roster holds the verifiers that may be answering, according to the canary at version, the newest that was seen.
	roster  *probe.Roster
	version string
	// watched is set once newer states of the canary arrive on the watch.
	watched bool
	// pending holds the keys to reconcile when a verifier has applied more.
	pending map[types.NamespacedName]change
	// prunedAt and savedAt are when the canary was last found to need pruning, and the registry a write.
	prunedAt, savedAt time.Time
	// applied maps each key with an unpublished credential to the digest that every verifier has applied.
	applied map[types.UID]string
}

// change is a change that verifiers are to apply. Verifiers need not apply later writes to the key.
type change struct {
	uid  types.UID
	what string
	// resourceVersion is that of the key when the change was first seen in it, and since is when that was.
	resourceVersion string
	since           time.Time
	// notifiedAt is when it was found that the key need not wait any more; zero while it must.
	notifiedAt time.Time
}

const (
	// reportInterval is how soon a verifier that is not cut off writes to the canary again, unless there are very many
	// of them.
	reportInterval = 10 * time.Second
	// maxApplied limits what Applied remembers of keys that were deleted before they were published. Beyond it, the
	// other keys are waited for once more.
	maxApplied = 100_000
)

// NewVerifiers returns what is known of verifiers by their canary in a namespace.
func NewVerifiers(writer client.Client, live client.Reader, namespace string, clk clock.PassiveClock) *Verifiers {
	return &Verifiers{
		writer: writer, live: live, clock: clk,
		canary: types.NamespacedName{Namespace: namespace, Name: keysv1alpha1.CanaryName},
		registry: registry{
			writer: writer, live: live, name: types.NamespacedName{Namespace: namespace, Name: RegistryName},
		},
		roster: probe.NewRoster(), pending: map[types.NamespacedName]change{}, applied: map[types.UID]string{},
	}
}

// Progress is how far the verifiers are with one change.
type Progress struct {
	probe.Progress

	// Waited is how long this process has waited for the change.
	Waited time.Duration
}

// Done reports whether no verifier can answer any more from before the change.
func (p Progress) Done() bool { return len(p.Behind) == 0 && p.Unknown == 0 }

// proved reports whether the canary that p was computed from is newer than the change, whenever it was read: a verifier
// on it has applied the change, and one that is not on it is either gone or will start with the change.
func (p Progress) proved() bool { return p.Done() && p.Closed == 0 && p.Applied > 0 }

// Applied reports whether every verifier has applied the announcement of a digest that is in the key's status. What
// they have applied once stays applied. Without this memory, each later write of the key's status would have to be
// waited for again; and for a key whose Secret cannot be published, waiting and reporting that would overwrite one
// another forever (L4).
func (v *Verifiers) Applied(ctx context.Context, key *keysv1alpha1.ApiKey, digest string) (bool, error) {
	v.mu.Lock()
	applied := v.applied[key.UID] == digest
	v.mu.Unlock()
	if applied {
		return true, nil
	}
	progress, err := v.Progress(ctx, key, digest)
	if err != nil || !progress.Done() {
		return false, err
	}
	v.mu.Lock()
	if len(v.applied) >= maxApplied {
		clear(v.applied)
	}
	v.applied[key.UID] = digest
	v.mu.Unlock()
	return true, nil
}

// ForgetAnnouncement forgets what Applied has remembered of a key: the announcement is over, or is no longer in effect.
func (v *Verifiers) ForgetAnnouncement(key *keysv1alpha1.ApiKey) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.applied, key.UID)
	delete(v.pending, client.ObjectKeyFromObject(key))
}

// Progress returns how far the verifiers are with a change that is in the key as it was read and stays there. The key
// is reconciled when they have come further.
func (v *Verifiers) Progress(ctx context.Context, key *keysv1alpha1.ApiKey, what string) (Progress, error) {
	if !v.loaded.Load() {
		if err := v.load(ctx); err != nil {
			return Progress{}, err
		}
	}
	name := client.ObjectKeyFromObject(key)
	v.mu.Lock()
	waited := v.pending[name]
	if waited.uid != key.UID || waited.what != what {
		waited = change{uid: key.UID, what: what, resourceVersion: key.ResourceVersion, since: v.clock.Now()}
	}
	waited.notifiedAt = time.Time{}
	v.pending[name] = waited
	p := v.progressOf(waited)
	// That some verifiers are behind is enough to know, as long as newer states of the canary arrive. An old state can
	// prove that all have applied the change. Only that there is nobody to wait for needs the canary as it is now.
	settled := p.proved() || (v.watched && len(p.Behind) > 0 && p.Closed == 0)
	v.mu.Unlock()
	if !settled {
		if _, err := v.refresh(ctx); err != nil {
			return Progress{}, err
		}
		v.mu.Lock()
		p = v.progressOf(waited)
		v.mu.Unlock()
	}
	if p.Done() {
		// It is kept until the key says so: after a write that was overtaken, a later state of the key must not be
		// waited for.
		waited.notifiedAt = v.clock.Now()
		v.mu.Lock()
		v.pending[name] = waited
		v.mu.Unlock()
	}
	return p, nil
}

// Forget removes a key from the list of those that wait.
func (v *Verifiers) Forget(name types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.pending, name)
}

// refresh reads the canary past the cache, and returns it, or nil if there is none. Without a canary no verifier can
// prove its freshness: those that are known fail closed in time.
func (v *Verifiers) refresh(ctx context.Context) (*keysv1alpha1.ApiKey, error) {
	canary := &keysv1alpha1.ApiKey{}
	err := v.live.Get(ctx, v.canary, canary)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the verifiers' probes from ApiKey %s: %w", v.canary, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.update(canary)
	return canary, nil
}

// update gives the roster what a canary says, unless the canary is older than what is known.
func (v *Verifiers) update(canary *keysv1alpha1.ApiKey) {
	order, err := resourceversion.CompareResourceVersion(canary.ResourceVersion, v.version)
	if err == nil && order < 0 {
		return
	}
	v.version = canary.ResourceVersion
	sealed := canary.Annotations[keysv1alpha1.SealAnnotation] == string(canary.UID)
	v.roster.Observe(string(canary.UID), sealed, probe.Records(canary), v.clock.Now())
}

// progressOf compares what is known of verifiers with a change. An unknown verifier may not know of a revocation, and
// still accept the key, so it is waited for. A token does not wait for it longer than a verifier takes to report: one
// that is cut off refuses the token anyway.
func (v *Verifiers) progressOf(c change) Progress {
	now := v.clock.Now()
	p := Progress{Progress: v.roster.Progress(c.resourceVersion, now), Waited: now.Sub(c.since)}
	if c.what != keysv1alpha1.ReasonRevoked && p.UnknownFor > reportInterval {
		p.Unknown = 0
	}
	return p
}
