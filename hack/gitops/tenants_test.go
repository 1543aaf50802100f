package gitops_test

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/fixture"
)

var tenantStates = []state{
	{name: "just created", reach: tenantJustCreated, kstatus: inProgress, trap: current, argo: progressing},
	{name: "Active", reach: tenantActive, kstatus: current, argo: healthy},
	{name: "Suspended", reach: tenantAsleep, kstatus: current, trap: inProgress, argo: healthy},
	{name: "DuplicateID", reach: duplicateID, kstatus: failed, argo: degraded},
	{name: "InvalidSelector", reach: invalidSelector, kstatus: failed, argo: degraded},
	{name: "changed, not seen yet", reach: tenantChangedUnseen, kstatus: inProgress, argo: progressing},
	{name: "being deleted", reach: tenantBeingDeleted, kstatus: terminating, argo: progressing, flux: inProgress},
}

// An AccessPolicy says all that there is to know of it in spec: it takes effect by being there.
var policyStates = []state{
	{name: "there", reach: policyThere, kstatus: current, argo: unassessed},
	{name: "being deleted", reach: policyBeingDeleted, kstatus: terminating, argo: progressing},
}

func tenantJustCreated(w *world) client.Object {
	w.withoutController()
	w.create(w.tenant)
	return w.tenant
}

func tenantActive(w *world) client.Object {
	w.create(w.tenant)
	w.awaitTenant(w.tenant, keysv1alpha1.ReasonActive)
	return w.tenant
}

func tenantAsleep(w *world) client.Object {
	w.tenant.Spec.State = keysv1alpha1.TenantSuspended
	w.create(w.tenant)
	w.awaitTenant(w.tenant, keysv1alpha1.ReasonSuspended)
	return w.tenant
}

func duplicateID(w *world) client.Object {
	w.create(w.tenant)
	younger := fixture.Tenant("zz-"+fixture.Name("tenant"), func(t *keysv1alpha1.Tenant) { t.Spec.ID = w.tenant.Spec.ID })
	w.create(younger)
	w.awaitTenant(younger, keysv1alpha1.ReasonDuplicateID)
	return younger
}

func invalidSelector(w *world) client.Object {
	w.tenant.Spec.NamespaceSelector.MatchLabels = map[string]string{"not a label": "x"}
	w.create(w.tenant)
	w.awaitTenant(w.tenant, keysv1alpha1.ReasonInvalidSelector)
	return w.tenant
}

func tenantChangedUnseen(w *world) client.Object {
	w.create(w.tenant)
	w.awaitTenant(w.tenant, keysv1alpha1.ReasonActive)
	w.withoutController()
	update(w, w.tenant, func(t *keysv1alpha1.Tenant) { t.Spec.DisplayName = "Acme Inc" })
	return w.tenant
}

func tenantBeingDeleted(w *world) client.Object {
	w.create(w.tenant)
	w.awaitTenant(w.tenant, keysv1alpha1.ReasonActive)
	update(w, w.tenant, func(t *keysv1alpha1.Tenant) { t.Finalizers = []string{"example.com/somebody-elses"} })
	w.delete(w.tenant)
	return w.tenant
}

func policyThere(w *world) client.Object {
	policy := fixture.Policy(fixture.Name("policy"), onlyScopes)
	w.create(policy)
	return policy
}

func policyBeingDeleted(w *world) client.Object {
	policy := fixture.Policy(fixture.Name("policy"), onlyScopes)
	policy.Finalizers = []string{"example.com/somebody-elses"}
	w.create(policy)
	w.delete(policy)
	return policy
}

func onlyScopes(p *keysv1alpha1.AccessPolicy) {
	p.Spec = keysv1alpha1.AccessPolicySpec{Scopes: []keysv1alpha1.ScopeDeclaration{{Name: "products:read"}}}
}
