package explore_test

import (
	"fmt"
	"strings"
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

// verifier is a live verifier. It applies changes only when the run lets it, which is once the controller has nothing more
// to do without it.
type verifier struct {
	name string
	seen *state
	view *index.View
}

// registerVerifiers creates the canary, on which two verifiers say that they have applied nothing yet.
func (r *run) registerVerifiers() {
	canary := fixture.ApiKey(r.system, keysv1alpha1.CanaryName, func(k *keysv1alpha1.ApiKey) {
		k.Labels = map[string]string{keysv1alpha1.CanaryLabel: "true"}
		k.Annotations = map[string]string{}
		for _, name := range []string{"verifier-1", "verifier-2"} {
			v := &verifier{name: name, seen: &state{keysAt: "1"}, view: index.NewView()}
			k.Annotations[probe.Annotation(name)] = v.record()
			r.verifiers = append(r.verifiers, v)
		}
	})
	r.create(canary)
}

func (v *verifier) record() string {
	return probe.Record{Nonce: v.seen.keysAt, Applied: v.seen.keysAt, MaxStaleness: metav1.Duration{Duration: 5 * time.Minute}}.String()
}

// verifierCatchesUp has the first verifier that is behind apply all changes and say so. It is false if none is behind.
func (r *run) verifierCatchesUp() bool {
	for _, v := range r.verifiers {
		if v.seen.keysAt == r.latest().keysAt {
			continue
		}
		v.seen, v.view = r.latest(), viewOf(r.latest())
		canary := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{Namespace: r.system, Name: keysv1alpha1.CanaryName}}
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, probe.Annotation(v.name), v.record())
		r.must(r.lab.cp.Client.Patch(r.ctx, canary, client.RawPatch(types.MergePatchType, []byte(patch))))
		r.log("%s has applied all", v.name)
		r.check()
		return true
	}
	return false
}

// viewOf is what a verifier decides from that has applied a state.
func viewOf(s *state) *index.View {
	view := index.NewView()
	for i := range s.keys {
		view.Credentials.Put(s.keys[i].Name, feed.Grants(&s.keys[i]))
	}
	tenants := index.Tenants{}
	for i := range s.tenants {
		if id, ok := index.ParseTenantID(s.tenants[i].Spec.ID); ok {
			tenants.Add(id, index.Tenant{IDHeader: strings.ToLower(s.tenants[i].Spec.ID)})
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
