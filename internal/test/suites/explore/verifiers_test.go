package explore_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/rollout"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// verifiersBound is the verifiers' --max-staleness in scenarios that cut some off. In others it is longer than a run.
const verifiersBound = 10 * time.Second

// verifier is a live verifier. While the controller waits for verifiers, it applies changes only once the controller
// has nothing else to do.
type verifier struct {
	name, instance string
	seen           *state
	view           *index.View
	// reported is what the canary says about it, and proved when it said so.
	reported string
	proved   time.Time
	bound    time.Duration
	// cutOff is set if it neither receives nor sends anything.
	cutOff bool
}

// registerVerifiers creates the canary, on which two verifiers report that they have applied nothing yet. In scenarios
// that tend the canary, a controller has run before.
func (r *run) registerVerifiers() {
	canary := newCanary(r.system)
	known := probe.Document{}
	for _, name := range r.scenario.verifiers() {
		v := r.newVerifier(name, name+"'s")
		canary.Annotations[probe.Annotation(name)] = v.record(r.clock.Now()).String()
		r.verifiers = append(r.verifiers, v)
		known.Verifiers = append(known.Verifiers, probe.Known{
			Verifier: probe.Verifier{Name: name, Instance: v.instance}, MaxStaleness: metav1.Duration{Duration: v.bound},
		})
	}
	r.create(canary)
	if r.scenario.tended {
		return
	}
	metav1.SetMetaDataAnnotation(&canary.ObjectMeta, keysv1alpha1.SealAnnotation, string(canary.UID))
	r.must(r.testbed.cp.Client.Update(r.ctx, canary))
	text, err := json.Marshal(known)
	r.must(err)
	r.create(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Namespace: r.system, Name: rollout.RegistryName,
		Annotations: map[string]string{rollout.RegistryAnnotation: string(text)},
	}})
}

func newCanary(namespace string) *keysv1alpha1.ApiKey {
	return fixture.ApiKey(namespace, keysv1alpha1.CanaryName, func(k *keysv1alpha1.ApiKey) {
		k.Labels = map[string]string{keysv1alpha1.CanaryLabel: "true"}
		k.Annotations = map[string]string{}
	})
}

// canary returns the current canary, or nil if there is none.
func (r *run) canary() *keysv1alpha1.ApiKey {
	canary := &keysv1alpha1.ApiKey{}
	if err := r.testbed.cp.Client.Get(r.ctx, client.ObjectKey{Namespace: r.system, Name: keysv1alpha1.CanaryName},
		canary); err != nil {
		return nil
	}
	return canary
}

func (s scenario) verifiers() []string {
	if s.withoutVerifiers {
		return nil
	}
	return []string{"verifier-1", "verifier-2"}
}

func (r *run) newVerifier(name, instance string) *verifier {
	v := &verifier{name: name, instance: instance, seen: &state{keysAt: "1"}, view: index.NewView(), proved: r.clock.Now(),
		bound: 5 * time.Minute}
	if r.scenario.tended {
		v.bound = verifiersBound
	}
	return v
}

func (v *verifier) record(at time.Time) probe.Record {
	nonce := fmt.Sprint(v.seen.keysAt, " ", at.Unix())
	return probe.Record{Nonce: nonce, Applied: v.seen.keysAt, Instance: v.instance,
		MaxStaleness: metav1.Duration{Duration: v.bound}}
}

// cutOff disconnects a verifier. It keeps deciding from what it knows until its bound has passed.
func (r *run) cutOff(which int) { r.verifiers[which].cutOff = true }

// startTwin starts another verifier with the name of an existing one.
func (r *run) startTwin(of int) {
	twin := r.newVerifier(r.verifiers[of].name, "twin's")
	r.verifiers = append(r.verifiers, twin)
	r.prove(twin)
}

// signOff stops a verifier.
func (r *run) signOff(which int) {
	v := r.verifiers[which]
	r.verifiers = slices.Delete(slices.Clone(r.verifiers), which, which+1)
	record := v.record(r.clock.Now())
	record.SignedOff = true
	r.annotate(map[string]any{probe.Annotation(v.name): record.String()})
}

// replaceCanary is what kubectl replace does, and recreateCanary what it does with --force.
func (r *run) replaceCanary() { r.annotate(nil) }

func (r *run) recreateCanary() {
	r.must(r.testbed.cp.Client.Delete(r.ctx, r.canary()))
	r.create(newCanary(r.system))
}

// annotate changes annotations on the canary; nil removes all of them.
func (r *run) annotate(annotations any) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	r.must(err)
	r.must(r.testbed.cp.Client.Patch(r.ctx, newCanary(r.system), client.RawPatch(types.MergePatchType, patch)))
	r.check()
}

// expectNoWait expects that a revocation is effective as soon as the verifiers that have not signed off have applied
// it. A controller that has just created the registry and not sealed the canary yet leaves a successor that waits.
func (r *run) expectNoWait() {
	key := r.latest().key("key")
	if len(r.plan.faults) == 0 &&
		!apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective) {
		r.fail("L1: one that has signed off is waited for: %s", describe(key))
	}
}

// verifierCatchesUp makes the first verifier that is behind apply all changes and report that. It returns false if the
// controller waits for none that is behind: then all verifiers apply the changes without a report.
func (r *run) verifierCatchesUp() bool {
	for _, v := range r.verifiers {
		if r.impatient() && v.reported != r.latest().keysAt && !v.cutOff {
			r.log("%s has applied all", v.name)
			r.prove(v)
			return true
		}
	}
	for _, v := range r.verifiers {
		if !v.cutOff {
			v.seen, v.view = r.latest(), viewOf(r.latest())
		}
	}
	return false
}

// impatient reports whether the leader wants to reconcile a key again so soon that it must be waiting for a verifier.
func (r *run) impatient() bool {
	_, at := r.nextWake()
	return !at.IsZero() && at.Before(r.clock.Now().Add(10*time.Second))
}

// prove makes verifiers apply all changes, and report on the canary how far they are and that they are alive.
func (r *run) prove(verifiers ...*verifier) {
	annotations := map[string]any{}
	for _, v := range verifiers {
		if !v.cutOff {
			v.seen, v.view, v.reported, v.proved = r.latest(), viewOf(r.latest()), r.latest().keysAt, r.clock.Now()
			annotations[probe.Annotation(v.name)] = v.record(r.clock.Now()).String()
		}
	}
	if len(annotations) > 0 {
		r.annotate(annotations)
	}
}

// viewOf returns the view of a verifier that has applied a state.
func viewOf(s *state) *index.View {
	view := index.NewView()
	for i := range s.keys {
		view.Credentials.Put(s.keys[i].Name, index.ClaimsOf(&s.keys[i]))
	}
	tenants := index.Tenants{}
	for i := range s.tenants {
		if id, ok := index.ParseTenantID(s.tenants[i].Spec.ID); ok {
			tenants.Add(id, index.Tenant{})
		}
	}
	view.SetTenants(tenants)
	return view
}

// askAt asks a verifier, which refuses everything once its bound has passed.
func (r *run) askAt(v *verifier, token, tenantID string) verify.Decision {
	freshness := verify.Fresh
	if r.clock.Now().Sub(v.proved) > v.bound && v.cutOff {
		freshness = verify.Stale
	}
	return r.decide(v.view, token, tenantID, freshness)
}

// ask asks a fresh verifier whether a token may read products for a tenant.
func (r *run) ask(view *index.View, token, tenantID string) verify.Decision {
	return r.decide(view, token, tenantID, verify.Fresh)
}

func (r *run) decide(view *index.View, token, tenantID string, freshness verify.Freshness) verify.Decision {
	return verify.Decide(view, &verify.Request{
		Authorization: []string{"Bearer " + token},
		TenantID:      []string{tenantID},
		FixedScopes:   []keysv1alpha1.Scope{"products:read"},
	}, freshness, r.clock.Now())
}
