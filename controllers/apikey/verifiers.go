package apikey

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
)

// verifiers knows, from their probes on the canary, which verifiers are live and how far each has come.
type verifiers struct {
	// live reads past the cache: an old picture of the canary would have a verifier look silent that is not.
	live   client.Reader
	canary types.NamespacedName
	clock  clock.PassiveClock

	mu sync.Mutex
	// heard is when this process first saw a verifier's latest nonce. Verifiers' own times are not compared with ours.
	heard map[string]heard
	// waiting are the keys to look at again when a verifier has come further.
	waiting map[types.NamespacedName]struct{}
	// known is, of a key with a credential that isn't published, the digest that every verifier has applied.
	known map[types.UID]string
}

type heard struct {
	nonce string
	since time.Time
}

func newVerifiers(live client.Reader, canary types.NamespacedName, clk clock.PassiveClock) *verifiers {
	return &verifiers{
		live: live, canary: canary, clock: clk,
		heard: map[string]heard{}, waiting: map[types.NamespacedName]struct{}{}, known: map[types.UID]string{},
	}
}

// progress is how far the verifiers are with one change.
type progress struct {
	// applied is how many have applied it; behind names those that have not, and may still answer from before it.
	applied int
	behind  []string
	// silent is how many have been silent for so long that they refuse everything.
	silent int
}

// done says that no verifier can answer any more from before the change.
func (p progress) done() bool { return len(p.behind) == 0 }

// know says whether every verifier has applied the announcement of a digest that is in the key's status. What they know
// once they know for good: without this memory, each later write of the key's status would have to be waited for again, and
// where the Secret can't be published, waiting for it and saying so would overwrite one another for ever (L4).
func (v *verifiers) know(ctx context.Context, key *keysv1alpha1.ApiKey, digest string) (bool, error) {
	v.mu.Lock()
	known := v.known[key.UID] == digest
	v.mu.Unlock()
	if known {
		return true, nil
	}
	progress, err := v.progress(ctx, key)
	if err != nil || !progress.done() {
		return false, err
	}
	v.mu.Lock()
	v.known[key.UID] = digest
	v.mu.Unlock()
	return true, nil
}

// forgetKnown forgets what know has kept of a key.
func (v *verifiers) forgetKnown(uid types.UID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.known, uid)
}

// progress returns how far the verifiers are with a change of the key, of which they are to tell when they come further.
func (v *verifiers) progress(ctx context.Context, key *keysv1alpha1.ApiKey) (progress, error) {
	name := client.ObjectKeyFromObject(key)
	v.mu.Lock()
	v.waiting[name] = struct{}{}
	v.mu.Unlock()
	canary := &keysv1alpha1.ApiKey{}
	if err := v.live.Get(ctx, v.canary, canary); err != nil && !apierrors.IsNotFound(err) {
		return progress{}, fmt.Errorf("reading the verifiers' probes from ApiKey %s: %w", v.canary, err)
	}
	// Where there is no canary, no verifier can prove its freshness, so none lets anything pass.
	p := v.judge(probe.Records(canary), key.ResourceVersion)
	if p.done() {
		v.mu.Lock()
		delete(v.waiting, name)
		v.mu.Unlock()
	}
	return p, nil
}

func (v *verifiers) judge(records map[string]probe.Record, resourceVersion string) progress {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.clock.Now()
	var p progress
	for name, record := range records {
		last, known := v.heard[name]
		if !known || last.nonce != record.Nonce {
			last = heard{nonce: record.Nonce, since: now}
			v.heard[name] = last
		}
		switch {
		case record.HasApplied(resourceVersion):
			p.applied++
		case now.Sub(last.since) > record.MaxStaleness.Duration:
			// Its last proof is older than we have known it, so by now it fails closed.
			p.silent++
		default:
			p.behind = append(p.behind, name)
		}
	}
	for name := range v.heard {
		if _, ok := records[name]; !ok {
			delete(v.heard, name)
		}
	}
	slices.Sort(p.behind)
	return p
}

// awaiting returns the keys that wait for a verifier.
func (v *verifiers) awaiting() []types.NamespacedName {
	v.mu.Lock()
	defer v.mu.Unlock()
	names := make([]types.NamespacedName, 0, len(v.waiting))
	for name := range v.waiting {
		names = append(names, name)
	}
	return names
}

// forget takes a key off the list of those that wait.
func (v *verifiers) forget(name types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.waiting, name)
}
