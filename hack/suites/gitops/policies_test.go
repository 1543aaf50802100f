package gitops_test

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

var policyStates = []state{
	{name: "just created", reach: policyJustCreated, kstatus: inProgress, argo: progressing},
	{name: "Applied", reach: policyApplied, kstatus: current, argo: healthy},
	{name: "Conflict", reach: policyConflict, kstatus: failed, argo: degraded},
	{name: "NoHosts", reach: policyNoHosts, kstatus: failed, argo: degraded},
	{name: "changed, not seen yet", reach: policyChangedUnseen, kstatus: inProgress, argo: progressing},
	{name: "being deleted", reach: policyBeingDeleted, kstatus: terminating, argo: progressing},
}

func policyJustCreated(w *world) client.Object {
	w.withoutController()
	return w.policy(fixture.Name("policy"))
}

func policyApplied(w *world) client.Object {
	policy := w.policy(fixture.Name("policy"))
	w.awaitPolicy(policy, keysv1alpha1.ReasonApplied)
	return policy
}

func policyConflict(w *world) client.Object {
	host := keysv1alpha1.Host(fixture.Name("host") + ".example.com")
	w.policy("aa-"+fixture.Name("policy"), host)
	younger := w.policy("zz-"+fixture.Name("policy"), host)
	w.awaitPolicy(younger, keysv1alpha1.ReasonConflict)
	return younger
}

func policyNoHosts(w *world) client.Object {
	policy := fixture.Policy(fixture.Name("policy"), func(p *keysv1alpha1.AccessPolicy) { p.Spec.Hosts = nil })
	w.create(policy)
	w.awaitPolicy(policy, keysv1alpha1.ReasonNoHosts)
	return policy
}

func policyChangedUnseen(w *world) client.Object {
	policy := w.policy(fixture.Name("policy"))
	w.awaitPolicy(policy, keysv1alpha1.ReasonApplied)
	w.withoutController()
	update(w, policy, func(p *keysv1alpha1.AccessPolicy) { p.Spec.Rules = p.Spec.Rules[:1] })
	return policy
}

func policyBeingDeleted(w *world) client.Object {
	policy := w.policy(fixture.Name("policy"))
	w.awaitPolicy(policy, keysv1alpha1.ReasonApplied)
	update(w, policy, func(p *keysv1alpha1.AccessPolicy) { p.Finalizers = []string{"example.com/somebody-elses"} })
	w.delete(policy)
	return policy
}

// policy creates a policy for some hosts, or for one of its own.
func (w *world) policy(name string, hosts ...keysv1alpha1.Host) *keysv1alpha1.AccessPolicy {
	w.t.Helper()
	if hosts == nil {
		hosts = []keysv1alpha1.Host{keysv1alpha1.Host(name + ".example.com")}
	}
	policy := fixture.Policy(name, func(p *keysv1alpha1.AccessPolicy) { p.Spec.Hosts = hosts })
	w.create(policy)
	return policy
}

func (w *world) awaitPolicy(policy *keysv1alpha1.AccessPolicy, reason string) {
	w.t.Helper()
	w.await(policy, reason, func() ([]metav1.Condition, int64) { return policy.Status.Conditions, policy.Status.ObservedGeneration })
}
