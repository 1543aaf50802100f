package explore_test

import (
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/feed"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
	"github.com/nexuscommerce/apikey-operator/internal/test/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// verifier is a live verifier. While the controller waits for verifiers, it applies changes only once the controller has
// nothing else to do.
type verifier struct {
	name string
	seen *state
	view *index.View
	// told is what the canary says of it.
	told string
}

// registerVerifiers creates the canary, on which two verifiers say that they have applied nothing yet.
func (r *run) registerVerifiers() {
	canary := fixture.ApiKey(r.system, keysv1alpha1.CanaryName, func(k *keysv1alpha1.ApiKey) {
		k.Labels = map[string]string{keysv1alpha1.CanaryLabel: "true"}
		k.Annotations = map[string]string{}
		for _, name := range r.scenario.verifiers() {
			v := &verifier{name: name, seen: &state{keysAt: "1"}, view: index.NewView()}
			k.Annotations[probe.Annotation(name)] = v.record(r.clock.Now())
			r.verifiers = append(r.verifiers, v)
		}
	})
	r.create(canary)
}

func (s scenario) verifiers() []string {
	if s.withoutVerifiers {
		return nil
	}
	return []string{"verifier-1", "verifier-2"}
}

func (v *verifier) record(at time.Time) string {
	nonce := fmt.Sprint(v.seen.keysAt, " ", at.Unix())
	return probe.Record{Nonce: nonce, Applied: v.seen.keysAt, MaxStaleness: metav1.Duration{Duration: 5 * time.Minute}}.String()
}

// verifierCatchesUp has the first verifier that is behind apply all changes and say so. It is false if none is behind that
// the controller waits for: then all apply what there is, and nobody needs to hear of it.
func (r *run) verifierCatchesUp() bool {
	for _, v := range r.verifiers {
		if r.impatient() && v.told != r.latest().keysAt {
			r.log("%s has applied all", v.name)
			r.prove(v)
			return true
		}
	}
	for _, v := range r.verifiers {
		v.seen, v.view = r.latest(), viewOf(r.latest())
	}
	return false
}

// impatient says that the leader wants to look at a key so soon again that it must be waiting for somebody.
func (r *run) impatient() bool {
	_, at := r.nextWake()
	return !at.IsZero() && at.Before(r.clock.Now().Add(10*time.Second))
}

// prove has verifiers apply all changes, and say on the canary how far they are and that they are alive.
func (r *run) prove(verifiers ...*verifier) {
	if len(verifiers) == 0 {
		return
	}
	annotations := map[string]string{}
	for _, v := range verifiers {
		v.seen, v.view, v.told = r.latest(), viewOf(r.latest()), r.latest().keysAt
		annotations[probe.Annotation(v.name)] = v.record(r.clock.Now())
	}
	canary := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{Namespace: r.system, Name: keysv1alpha1.CanaryName}}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	r.must(err)
	r.must(r.lab.cp.Client.Patch(r.ctx, canary, client.RawPatch(types.MergePatchType, patch)))
	r.check()
}

// viewOf is what a verifier decides from that has applied a state.
func viewOf(s *state) *index.View {
	view := index.NewView()
	for i := range s.keys {
		view.Credentials.Put(s.keys[i].Name, feed.Claims(&s.keys[i]))
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

// ask asks a verifier whether a token may read products for a tenant.
func (r *run) ask(view *index.View, token, tenantID string) verify.Decision {
	return verify.Decide(view, &verify.Request{
		Authorization: []string{"Bearer " + token},
		TenantID:      []string{tenantID},
		FixedScopes:   []keysv1alpha1.Scope{"products:read"},
	}, verify.Fresh, r.clock.Now())
}
