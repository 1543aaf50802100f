package apikey

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
)

const (
	// tidyGap is how long until what is left over is looked at again.
	tidyGap = 30 * time.Second
	// saveGap is how long until it is written again who the verifiers are.
	saveGap = 2 * time.Second
)

// observe takes the canary as it came on the watch. It returns the keys that need wait no more for the verifiers that it speaks
// of, and whether there is something to tend.
func (v *verifiers) observe(canary *keysv1alpha1.ApiKey) (keys []types.NamespacedName, untended bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.watched = true
	v.take(canary)
	now := v.clock.Now()
	for name, change := range v.waiting {
		switch {
		case !v.judge(change).done():
		case change.told.IsZero():
			change.told = now
			v.waiting[name] = change
			keys = append(keys, name)
		case now.Sub(change.told) > tidyGap:
			delete(v.waiting, name) // It has gone, or it would have asked again.
		}
	}
	return keys, v.untended(canary, now)
}

// untended reports whether there is something to tend to that was not found a moment ago.
func (v *verifiers) untended(canary *keysv1alpha1.ApiKey, now time.Time) bool {
	if v.roster.Changed() && now.Sub(v.saved) >= saveGap {
		v.saved = now
		return true
	}
	if now.Sub(v.tidied) < tidyGap || !v.roster.SealDue(now) && len(v.leftOver(canary, now)) == 0 {
		return false
	}
	v.tidied = now
	return true
}

// leftOver returns what is on the canary of verifiers for which nobody waits any more.
func (v *verifiers) leftOver(canary *keysv1alpha1.ApiKey, now time.Time) map[string]probe.Record {
	records := probe.Records(canary)
	for name, record := range records {
		if !v.roster.Closed(name, record, now) {
			delete(records, name)
		}
	}
	return records
}

// tend keeps the canary, and what the next process is to know of it: who the verifiers are, that nobody is missing, and nothing
// of those who departed.
func (v *verifiers) tend(ctx context.Context, canary *keysv1alpha1.ApiKey) error {
	if err := v.load(ctx); err != nil {
		return err
	}
	v.mu.Lock()
	v.take(canary)
	v.mu.Unlock()
	for _, step := range []func(context.Context, *keysv1alpha1.ApiKey) error{v.save, v.seal, v.dismiss} {
		if err := step(ctx, canary); err != nil {
			return err
		}
	}
	return nil
}

// load has the roster know what earlier processes knew.
func (v *verifiers) load(ctx context.Context) error {
	v.registryMu.Lock()
	defer v.registryMu.Unlock()
	if v.registry.stored != nil {
		return nil
	}
	document, err := v.registry.read(ctx)
	if err != nil {
		return err
	}
	if document == nil {
		return v.begin(ctx)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.roster.Load(document, v.clock.Now())
	v.loaded.Store(true)
	return nil
}

// begin notes that there is a controller now, where none was before: from here on, whoever finds the canary without its seal has to
// do with one that was replaced.
func (v *verifiers) begin(ctx context.Context) error {
	canary, err := v.refresh(ctx)
	if err != nil {
		return err
	}
	v.mu.Lock()
	known := v.roster.Document(v.clock.Now())
	v.mu.Unlock()
	if err := v.registry.write(ctx, known); err != nil {
		return err
	}
	v.mu.Lock()
	v.roster.Load(nil, v.clock.Now())
	v.loaded.Store(true)
	v.mu.Unlock()
	if canary == nil {
		return nil
	}
	if err := v.seal(ctx, canary); !apierrors.IsConflict(err) {
		return err
	}
	return nil // A verifier has spoken meanwhile. It is sealed when it is tended.
}

// save keeps who the verifiers are, where that has changed.
func (v *verifiers) save(ctx context.Context, _ *keysv1alpha1.ApiKey) error {
	v.registryMu.Lock()
	defer v.registryMu.Unlock()
	v.mu.Lock()
	changed, document := v.roster.Changed(), v.roster.Document(v.clock.Now())
	v.roster.MarkSaved()
	v.mu.Unlock()
	if !changed {
		return nil
	}
	err := v.registry.write(ctx, document)
	if err != nil {
		v.mu.Lock()
		v.roster.MarkChanged()
		v.mu.Unlock()
	}
	return err
}

// seal notes on the canary that every verifier whose probe was taken off it has been waited for. It is refused where the canary has
// changed since: somebody may have replaced it again.
func (v *verifiers) seal(ctx context.Context, canary *keysv1alpha1.ApiKey) error {
	v.mu.Lock()
	due := v.version == canary.ResourceVersion && v.roster.SealDue(v.clock.Now())
	v.mu.Unlock()
	if !due {
		return nil
	}
	content, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": canary.ResourceVersion, "annotations": map[string]any{keysv1alpha1.SealAnnotation: canary.UID},
	}})
	if err != nil {
		return err
	}
	if err := v.writer.Patch(ctx, canary, client.RawPatch(types.MergePatchType, content)); err != nil {
		return fmt.Errorf("sealing ApiKey %s: %w", v.canary, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.take(canary)
	return nil
}

// dismiss takes what departed verifiers have said off the canary: it would have every change wait for their bound again
// after a restart, and grow with every pod that ever crashed. Nobody is waited for less by that. It is refused as a whole where
// one of them has spoken up since.
func (v *verifiers) dismiss(ctx context.Context, canary *keysv1alpha1.ApiKey) error {
	v.mu.Lock()
	departed := v.leftOver(canary, v.clock.Now())
	v.mu.Unlock()
	if len(departed) == 0 {
		return nil
	}
	var operations []map[string]string
	for name := range departed {
		annotation := probe.Annotation(name)
		path := "/metadata/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(annotation)
		operations = append(operations,
			map[string]string{"op": "test", "path": path, "value": canary.Annotations[annotation]},
			map[string]string{"op": "remove", "path": path})
	}
	content, err := json.Marshal(operations)
	if err != nil {
		return err
	}
	err = v.writer.Patch(ctx, canary, client.RawPatch(types.JSONPatchType, content))
	if apierrors.IsInvalid(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // One has spoken up since, or somebody else has been there first.
	}
	if err != nil {
		return fmt.Errorf("taking departed verifiers' probes off ApiKey %s: %w", v.canary, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, record := range departed {
		v.roster.Prune(name, record, v.clock.Now())
	}
	v.take(canary)
	return nil
}
