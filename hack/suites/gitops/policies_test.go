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

func policyJustCreated(e *environment) client.Object {
	e.withoutController()
	return e.policy(fixture.Name("policy"))
}

func policyApplied(e *environment) client.Object {
	policy := e.policy(fixture.Name("policy"))
	e.awaitPolicy(policy, keysv1alpha1.ReasonApplied)
	return policy
}

func policyConflict(e *environment) client.Object {
	host := keysv1alpha1.Host(fixture.Name("host") + ".example.com")
	e.policy("aa-"+fixture.Name("policy"), host)
	younger := e.policy("zz-"+fixture.Name("policy"), host)
	e.awaitPolicy(younger, keysv1alpha1.ReasonConflict)
	return younger
}

func policyNoHosts(e *environment) client.Object {
	policy := fixture.Policy(fixture.Name("policy"), func(p *keysv1alpha1.AccessPolicy) { p.Spec.Hosts = nil })
	e.create(policy)
	e.awaitPolicy(policy, keysv1alpha1.ReasonNoHosts)
	return policy
}

func policyChangedUnseen(e *environment) client.Object {
	policy := e.policy(fixture.Name("policy"))
	e.awaitPolicy(policy, keysv1alpha1.ReasonApplied)
	e.withoutController()
	update(e, policy, func(p *keysv1alpha1.AccessPolicy) { p.Spec.Rules = p.Spec.Rules[:1] })
	return policy
}

func policyBeingDeleted(e *environment) client.Object {
	policy := e.policy(fixture.Name("policy"))
	e.awaitPolicy(policy, keysv1alpha1.ReasonApplied)
	update(e, policy, func(p *keysv1alpha1.AccessPolicy) { p.Finalizers = []string{"example.com/somebody-elses"} })
	e.delete(policy)
	return policy
}

// policy creates a policy for some hosts, or for a host of its own.
func (e *environment) policy(name string, hosts ...keysv1alpha1.Host) *keysv1alpha1.AccessPolicy {
	e.t.Helper()
	if hosts == nil {
		hosts = []keysv1alpha1.Host{keysv1alpha1.Host(name + ".example.com")}
	}
	policy := fixture.Policy(name, func(p *keysv1alpha1.AccessPolicy) { p.Spec.Hosts = hosts })
	e.create(policy)
	return policy
}

func (e *environment) awaitPolicy(policy *keysv1alpha1.AccessPolicy, reason string) {
	e.t.Helper()
	e.await(policy, reason,
		func() ([]metav1.Condition, int64) { return policy.Status.Conditions, policy.Status.ObservedGeneration })
}
