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
