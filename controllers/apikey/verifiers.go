package apikey

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

// verifiers knows, from their probes on the canary, which verifiers may be answering and how far each has come.
type verifiers struct {
	writer client.Client
	// live reads past the cache: an old state of the canary would have a verifier look silent that is not.
	live   client.Reader
	canary types.NamespacedName
	clock  clock.PassiveClock

	// registryMu guards registry, and is taken before mu.
	registryMu sync.Mutex
	registry   registry
	// loaded is set once the roster holds what earlier processes knew.
	loaded atomic.Bool

	mu sync.Mutex
	// roster is who may be answering, by the canary at version, the newest that was seen.
	roster  *probe.Roster
	version string
	// watched is set once newer states of the canary come by themselves.
	watched bool
	// waiting are the keys to look at again when a verifier has come further.
	waiting map[types.NamespacedName]waitingFor
	// tidied and saved are when it was last found that the canary needs tidying up, and the registry a write.
	tidied, saved time.Time
	// known is, of a key with a credential that isn't published, the digest that every verifier has applied.
	known map[types.UID]string
}

// waitingFor is a change that verifiers are to apply. What is written to the key after it need not be waited for too.
type waitingFor struct {
	uid  types.UID
	what string
	// resourceVersion is the first of the key's that was seen with the change in it, since when that was.
	resourceVersion string
	since           time.Time
	// told is when the key was told that it need not wait any more; zero while it must.
	told time.Time
}

// speakUp is how soon a verifier that is not cut off writes to the canary again, if there are not very many of them.
const speakUp = 10 * time.Second

// mostKnown bounds what know keeps of keys that were deleted before they were published. Past it, those that are not are
// waited for once more.
const mostKnown = 100_000

func newVerifiers(writer client.Client, live client.Reader, namespace string, clk clock.PassiveClock) *verifiers {
	return &verifiers{
		writer: writer, live: live, clock: clk,
		canary:   types.NamespacedName{Namespace: namespace, Name: keysv1alpha1.CanaryName},
		registry: registry{writer: writer, live: live, name: types.NamespacedName{Namespace: namespace, Name: RegistryName}},
		roster:   probe.NewRoster(), waiting: map[types.NamespacedName]waitingFor{}, known: map[types.UID]string{},
	}
}

// progress is how far the verifiers are with one change.
type progress struct {
	probe.Progress

	// since is when this process began to wait for it.
	since time.Time
}

// done reports whether no verifier can answer any more from before the change.
func (p progress) done() bool { return len(p.Behind) == 0 && p.Unknown == 0 }

// proved reports whether the canary that p was judged by is newer than the change, without a look at when it was seen: a
// verifier on it has applied the change. One that is not on it is either gone, or comes up with the change.
func (p progress) proved() bool { return p.done() && p.Closed == 0 && p.Applied > 0 }

// know reports whether every verifier has applied the announcement of a digest that is in the key's status. What they know
// once, they know for good: without this memory, each later write of the key's status would have to be waited for again, and
// where the Secret can't be published, waiting for it and saying so would overwrite one another for ever (L4).
func (v *verifiers) know(ctx context.Context, key *keysv1alpha1.ApiKey, digest string) (bool, error) {
	v.mu.Lock()
	known := v.known[key.UID] == digest
	v.mu.Unlock()
	if known {
		return true, nil
	}
	progress, err := v.progress(ctx, key, digest)
	if err != nil || !progress.done() {
		return false, err
	}
	v.mu.Lock()
	if len(v.known) >= mostKnown {
		clear(v.known)
	}
	v.known[key.UID] = digest
	v.mu.Unlock()
	return true, nil
}

// forgetKnown forgets what know has kept of a key: what was waited for is not there any more, or is over.
func (v *verifiers) forgetKnown(key *keysv1alpha1.ApiKey) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.known, key.UID)
	delete(v.waiting, client.ObjectKeyFromObject(key))
}

// progress returns how far the verifiers are with a change that is in the key as it was read, for good. They are to tell
// when they come further.
func (v *verifiers) progress(ctx context.Context, key *keysv1alpha1.ApiKey, what string) (progress, error) {
	if !v.loaded.Load() {
		if err := v.load(ctx); err != nil {
			return progress{}, err
		}
	}
	name := client.ObjectKeyFromObject(key)
	v.mu.Lock()
	change := v.waiting[name]
	if change.uid != key.UID || change.what != what {
		change = waitingFor{uid: key.UID, what: what, resourceVersion: key.ResourceVersion, since: v.clock.Now()}
	}
	change.told = time.Time{}
	v.waiting[name] = change
	p := v.judge(change)
	// That some are behind is news enough, where more will come. That all have applied it can be proved by an old state of
	// the canary too. Only that there is nobody to wait for takes a look at how things are now.
	settled := p.proved() || (v.watched && len(p.Behind) > 0 && p.Closed == 0)
	v.mu.Unlock()
	if !settled {
		if _, err := v.refresh(ctx); err != nil {
			return progress{}, err
		}
		v.mu.Lock()
		p = v.judge(change)
		v.mu.Unlock()
	}
	if p.done() {
		// It is kept until the key says so: a write that was overtaken must not have a later state of the key be waited for.
		change.told = v.clock.Now()
		v.mu.Lock()
		v.waiting[name] = change
		v.mu.Unlock()
	}
	return p, nil
}

// refresh looks at the canary past the cache, and returns it; nil if there is none. Then no verifier can prove its freshness: those
// that were known fail closed in time.
func (v *verifiers) refresh(ctx context.Context) (*keysv1alpha1.ApiKey, error) {
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
	v.take(canary)
	return canary, nil
}

// take keeps what a canary says, if it is not older than what is known.
func (v *verifiers) take(canary *keysv1alpha1.ApiKey) {
	order, err := resourceversion.CompareResourceVersion(canary.ResourceVersion, v.version)
	if err == nil && order < 0 {
		return
	}
	v.version = canary.ResourceVersion
	sealed := canary.Annotations[keysv1alpha1.SealAnnotation] == string(canary.UID)
	v.roster.Observe(string(canary.UID), sealed, probe.Records(canary), v.clock.Now())
}

// judge holds what is known of verifiers against a change. Of a revocation, a verifier that nobody knows of may know nothing, and
// accept the key. A token waits for it no longer than one that is not cut off takes to speak up: one that is refuses the token.
func (v *verifiers) judge(change waitingFor) progress {
	p := progress{Progress: v.roster.Progress(change.resourceVersion, v.clock.Now()), since: change.since}
	if change.what != keysv1alpha1.ReasonRevoked && p.UnknownFor > speakUp {
		p.Unknown = 0
	}
	return p
}

// forget takes a key off the list of those that wait.
func (v *verifiers) forget(name types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.waiting, name)
}
