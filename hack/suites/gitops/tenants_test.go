package gitops_test

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

var tenantStates = []state{
	{name: "just created", reach: tenantJustCreated, kstatus: inProgress, argo: progressing},
	{name: "Active", reach: tenantActive, kstatus: current, argo: healthy},
	{name: "Suspended", reach: tenantAsleep, kstatus: current, argo: healthy},
	{name: "DuplicateID", reach: duplicateID, kstatus: failed, argo: degraded},
	{name: "InvalidSelector", reach: invalidSelector, kstatus: failed, argo: degraded},
	{name: "changed, not seen yet", reach: tenantChangedUnseen, kstatus: inProgress, argo: progressing},
	{name: "being deleted", reach: tenantBeingDeleted, kstatus: terminating, argo: progressing},
}

func tenantJustCreated(e *environment) client.Object {
	e.withoutController()
	e.create(e.tenant)
	return e.tenant
}

func tenantActive(e *environment) client.Object {
	e.create(e.tenant)
	e.awaitTenant(e.tenant, keysv1alpha1.ReasonActive)
	return e.tenant
}

func tenantAsleep(e *environment) client.Object {
	e.tenant.Spec.State = keysv1alpha1.TenantSuspended
	e.create(e.tenant)
	e.awaitTenant(e.tenant, keysv1alpha1.ReasonSuspended)
	return e.tenant
}

func duplicateID(e *environment) client.Object {
	e.create(e.tenant)
	younger := fixture.Tenant("zz-"+fixture.Name("tenant"), func(t *keysv1alpha1.Tenant) { t.Spec.ID = e.tenant.Spec.ID })
	e.create(younger)
	e.awaitTenant(younger, keysv1alpha1.ReasonDuplicateID)
	return younger
}

func invalidSelector(e *environment) client.Object {
	e.tenant.Spec.NamespaceSelector.MatchLabels = map[string]string{"not a label": "x"}
	e.create(e.tenant)
	e.awaitTenant(e.tenant, keysv1alpha1.ReasonInvalidSelector)
	return e.tenant
}

func tenantChangedUnseen(e *environment) client.Object {
	e.create(e.tenant)
	e.awaitTenant(e.tenant, keysv1alpha1.ReasonActive)
	e.withoutController()
	update(e, e.tenant, func(t *keysv1alpha1.Tenant) { t.Spec.DisplayName = "Acme Inc" })
	return e.tenant
}

func tenantBeingDeleted(e *environment) client.Object {
	e.create(e.tenant)
	e.awaitTenant(e.tenant, keysv1alpha1.ReasonActive)
	update(e, e.tenant, func(t *keysv1alpha1.Tenant) { t.Finalizers = []string{"example.com/somebody-elses"} })
	e.delete(e.tenant)
	return e.tenant
}
