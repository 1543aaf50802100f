package rollout

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
	// pruneInterval is the time after which the canary is checked again for probes to prune.
	pruneInterval = 30 * time.Second
	// saveInterval is the least time between two writes of the list of verifiers.
	saveInterval = 2 * time.Second
)

// Observe is called with each state of the canary that the watch delivers. It returns the keys that need not wait any
// longer for the verifiers on it, and reports whether Tend has something to do.
func (v *Verifiers) Observe(canary *keysv1alpha1.ApiKey) (keys []types.NamespacedName, untended bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.watched = true
	v.update(canary)
	now := v.clock.Now()
	for name, waited := range v.pending {
		switch {
		case !v.progressOf(waited).Done():
		case waited.notifiedAt.IsZero():
			waited.notifiedAt = now
			v.pending[name] = waited
			keys = append(keys, name)
		case now.Sub(waited.notifiedAt) > pruneInterval:
			delete(v.pending, name) // The key is gone, or it would have asked again.
		}
	}
	return keys, v.untended(canary, now)
}

// untended reports whether Tend has something to do that was not found a moment ago.
func (v *Verifiers) untended(canary *keysv1alpha1.ApiKey, now time.Time) bool {
	if v.roster.Changed() && now.Sub(v.savedAt) >= saveInterval {
		v.savedAt = now
		return true
	}
	if now.Sub(v.prunedAt) < pruneInterval || !v.roster.SealDue(now) && len(v.prunable(canary, now)) == 0 {
		return false
	}
	v.prunedAt = now
	return true
}

// prunable returns the probes on the canary of verifiers that nobody waits for any more.
func (v *Verifiers) prunable(canary *keysv1alpha1.ApiKey, now time.Time) map[string]probe.Record {
	records := probe.Records(canary)
	for name, record := range records {
		if !v.roster.Closed(name, record, now) {
			delete(records, name)
		}
	}
	return records
}

// Tend keeps the canary and the list of verifiers up to date for the next process: it stores the list (save), records
// that no verifier is missing (seal), and removes the probes of departed verifiers (prune).
func (v *Verifiers) Tend(ctx context.Context, canary *keysv1alpha1.ApiKey) error {
	if err := v.load(ctx); err != nil {
		return err
	}
	v.mu.Lock()
	v.update(canary)
	v.mu.Unlock()
	for _, step := range []func(context.Context, *keysv1alpha1.ApiKey) error{v.save, v.seal, v.prune} {
		if err := step(ctx, canary); err != nil {
			return err
		}
	}
	return nil
}

// load gives the roster what earlier processes knew.
func (v *Verifiers) load(ctx context.Context) error {
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

// begin records that a controller runs here for the first time: from now on, a canary without its seal was replaced.
func (v *Verifiers) begin(ctx context.Context) error {
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
	return nil // A verifier has written to it meanwhile. Tend seals it.
}

// save stores the list of verifiers, if it has changed.
func (v *Verifiers) save(ctx context.Context, _ *keysv1alpha1.ApiKey) error {
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

// seal records on the canary that every verifier whose probe was taken off it has been waited for. The API server
// refuses the patch if the canary has changed since: somebody may have replaced it again.
func (v *Verifiers) seal(ctx context.Context, canary *keysv1alpha1.ApiKey) error {
	v.mu.Lock()
	due := v.version == canary.ResourceVersion && v.roster.SealDue(v.clock.Now())
	v.mu.Unlock()
	if !due {
		return nil
	}
	content, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": canary.ResourceVersion,
		"annotations":     map[string]any{keysv1alpha1.SealAnnotation: canary.UID},
	}})
	if err != nil {
		return err
	}
	if err := v.writer.Patch(ctx, canary, client.RawPatch(types.MergePatchType, content)); err != nil {
		return fmt.Errorf("sealing ApiKey %s: %w", v.canary, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.update(canary)
	return nil
}

// prune removes the probes of departed verifiers from the canary. Otherwise, after a restart, every change would wait
// for their bound again, and the canary would grow with every pod that ever crashed. It doesn't
// shorten the wait for any verifier. The API server refuses the patch as a whole if one of them has reported since.
func (v *Verifiers) prune(ctx context.Context, canary *keysv1alpha1.ApiKey) error {
	v.mu.Lock()
	departed := v.prunable(canary, v.clock.Now())
	v.mu.Unlock()
	if len(departed) == 0 {
		return nil
	}
	content, err := prunePatch(canary, departed)
	if err != nil {
		return err
	}
	err = v.writer.Patch(ctx, canary, client.RawPatch(types.JSONPatchType, content))
	if apierrors.IsInvalid(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // One of them has reported since, or somebody else was first.
	}
	if err != nil {
		return fmt.Errorf("taking departed verifiers' probes off ApiKey %s: %w", v.canary, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, record := range departed {
		v.roster.Prune(name, record, v.clock.Now())
	}
	v.update(canary)
	return nil
}

// prunePatch returns a JSON patch that removes probes from the canary, if they are still as they were read.
func prunePatch(canary *keysv1alpha1.ApiKey, departed map[string]probe.Record) ([]byte, error) {
	operations := make([]map[string]string, 0, 2*len(departed))
	for name := range departed {
		annotation := probe.Annotation(name)
		path := "/metadata/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(annotation)
		operations = append(operations,
			map[string]string{"op": "test", "path": path, "value": canary.Annotations[annotation]},
			map[string]string{"op": "remove", "path": path})
	}
	return json.Marshal(operations)
}
