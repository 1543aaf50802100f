package apikey

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
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
	// picture is the newest canary that has been seen; its watch, where there is one, keeps it up to date.
	picture picture
	// heard is when this process first saw a verifier's latest nonce. Verifiers' own times are not compared with ours.
	heard map[string]heard
	// waiting are the keys to look at again when a verifier has come further.
	waiting map[types.NamespacedName]waitingFor
	// tidied is when the canary was last found to need tidying up.
	tidied time.Time
	// known is, of a key with a credential that isn't published, the digest that every verifier has applied.
	known map[types.UID]string
}

// picture is what verifiers said on the canary at one resourceVersion.
type picture struct {
	resourceVersion string
	records         map[string]probe.Record
	// watched is set once pictures come by themselves.
	watched bool
}

type heard struct {
	nonce string
	since time.Time
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

// tidyGap is how long until what is left over is looked at again.
const tidyGap = 30 * time.Second

// mostKnown bounds what know keeps of keys that were deleted before they were published. Past it, those that are not are
// waited for once more.
const mostKnown = 100_000

func newVerifiers(live client.Reader, canary types.NamespacedName, clk clock.PassiveClock) *verifiers {
	return &verifiers{
		live: live, canary: canary, clock: clk,
		heard: map[string]heard{}, waiting: map[types.NamespacedName]waitingFor{}, known: map[types.UID]string{},
	}
}

// progress is how far the verifiers are with one change.
type progress struct {
	// applied is how many have applied it; behind names those that have not, and may still answer from before it.
	applied int
	behind  []string
	// silent is how many have been silent for so long that they refuse everything.
	silent int
	// since is when this process began to wait for it.
	since time.Time
}

// done says that no verifier can answer any more from before the change.
func (p progress) done() bool { return len(p.behind) == 0 }

// proved says that the picture that p was judged by is newer than the change, without a look at when it was taken: a
// verifier in it has applied the change. One that is not in it is either gone, or comes up with the change.
func (p progress) proved() bool { return p.done() && p.silent == 0 && p.applied > 0 }

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
	name := client.ObjectKeyFromObject(key)
	v.mu.Lock()
	change := v.waiting[name]
	if change.uid != key.UID || change.what != what {
		change = waitingFor{uid: key.UID, what: what, resourceVersion: key.ResourceVersion, since: v.clock.Now()}
	}
	change.told = time.Time{}
	v.waiting[name] = change
	p := v.judge(change.resourceVersion)
	// That some are behind is news enough, where more will come. That all have applied it can be proved by an old picture
	// too. Only that there is nobody to wait for takes a look at how things are now.
	settled := p.proved() || (v.picture.watched && len(p.behind) > 0 && p.silent == 0)
	v.mu.Unlock()
	if !settled {
		canary := &keysv1alpha1.ApiKey{}
		err := v.live.Get(ctx, v.canary, canary)
		if err != nil && !apierrors.IsNotFound(err) {
			return progress{}, fmt.Errorf("reading the verifiers' probes from ApiKey %s: %w", v.canary, err)
		}
		v.mu.Lock()
		if err == nil {
			v.take(canary)
		} // Without a canary no verifier can prove its freshness: those that were known fail closed in time.
		p = v.judge(change.resourceVersion)
		v.mu.Unlock()
	}
	p.since = change.since
	if p.done() {
		// It is kept until the key says so: a write that was overtaken must not have a later state of the key be waited for.
		change.told = v.clock.Now()
		v.mu.Lock()
		v.waiting[name] = change
		v.mu.Unlock()
	}
	return p, nil
}

// take keeps what a canary says, if it is not older than what is known.
func (v *verifiers) take(canary *keysv1alpha1.ApiKey) {
	order, err := resourceversion.CompareResourceVersion(canary.ResourceVersion, v.picture.resourceVersion)
	if err == nil && order < 0 {
		return
	}
	v.picture.resourceVersion = canary.ResourceVersion
	v.picture.records = probe.Records(canary)
	now := v.clock.Now()
	for name, record := range v.picture.records {
		if last, known := v.heard[name]; !known || last.nonce != record.Nonce {
			v.heard[name] = heard{nonce: record.Nonce, since: now}
		}
	}
	for name := range v.heard {
		if _, ok := v.picture.records[name]; !ok {
			delete(v.heard, name)
		}
	}
}

// judge holds the picture against a change.
func (v *verifiers) judge(resourceVersion string) progress {
	var p progress
	for name, record := range v.picture.records {
		switch {
		case record.HasApplied(resourceVersion):
			p.applied++
		case v.failsClosed(name):
			p.silent++
		default:
			p.behind = append(p.behind, name)
		}
	}
	slices.Sort(p.behind)
	return p
}

// failsClosed says that a verifier's last proof is older than we have known it, and that older than it may be: by now it
// refuses everything.
func (v *verifiers) failsClosed(name string) bool {
	return v.clock.Now().Sub(v.heard[name].since) > v.picture.records[name].MaxStaleness.Duration
}

// observe takes the canary as it came on the watch. It returns the keys that need wait no more for those that it speaks of,
// and whether it speaks of any that must have failed closed.
func (v *verifiers) observe(canary *keysv1alpha1.ApiKey) (keys []types.NamespacedName, departed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.picture.watched = true
	v.take(canary)
	now := v.clock.Now()
	for name, change := range v.waiting {
		switch {
		case !v.judge(change.resourceVersion).done():
		case change.told.IsZero():
			change.told = now
			v.waiting[name] = change
			keys = append(keys, name)
		case now.Sub(change.told) > tidyGap:
			delete(v.waiting, name) // It has gone, or it would have asked again.
		}
	}
	if now.Sub(v.tidied) < tidyGap {
		return keys, false
	}
	for name := range v.picture.records {
		if v.failsClosed(name) {
			v.tidied = now
			return keys, true
		}
	}
	return keys, false
}

// farewell returns a patch that takes away what verifiers have said that must have failed closed, and nil if there are
// none. It is refused as a whole where one of them has spoken up since.
func (v *verifiers) farewell(canary *keysv1alpha1.ApiKey) (client.Patch, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.take(canary)
	var operations []map[string]string
	for name, value := range canary.Annotations {
		verifier, ok := strings.CutPrefix(name, keysv1alpha1.ProbeAnnotationPrefix)
		if !ok || v.picture.resourceVersion != canary.ResourceVersion || !v.failsClosed(verifier) {
			continue
		}
		path := "/metadata/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		operations = append(operations,
			map[string]string{"op": "test", "path": path, "value": value},
			map[string]string{"op": "remove", "path": path})
	}
	if len(operations) == 0 {
		return nil, nil
	}
	content, err := json.Marshal(operations)
	return client.RawPatch(types.JSONPatchType, content), err
}

// dismiss takes what departed verifiers have said off the canary: it would have every change wait for their bound again
// after a restart, and grow with every pod that ever crashed. Nobody is waited for less by that.
func (v *verifiers) dismiss(ctx context.Context, writer client.Client, canary *keysv1alpha1.ApiKey) error {
	patch, err := v.farewell(canary)
	if patch == nil || err != nil {
		return err
	}
	err = writer.Patch(ctx, canary.DeepCopy(), patch)
	if apierrors.IsInvalid(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // One has spoken up since, or somebody else has been there first.
	}
	if err != nil {
		return fmt.Errorf("taking departed verifiers' probes off ApiKey %s: %w", v.canary, err)
	}
	return nil
}

// forget takes a key off the list of those that wait.
func (v *verifiers) forget(name types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.waiting, name)
}
