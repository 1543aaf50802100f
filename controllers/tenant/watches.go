package tenant

import (
	"context"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/ledger"
)

// mayFreePlace passes when a key is deleted, when it is finished, and when it is issued to a tenant.
func mayFreePlace() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return isFinished(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return tenantOf(e.ObjectNew) != tenantOf(e.ObjectOld) ||
				isFinished(e.ObjectNew) && (!isFinished(e.ObjectOld) || e.ObjectOld.GetUID() != e.ObjectNew.GetUID())
		},
		DeleteFunc: func(event.DeleteEvent) bool { return true },
	}
}

func isFinished(object client.Object) bool {
	key, ok := object.(*keysv1alpha1.ApiKey)
	return ok && finished(key, string(key.UID))
}

// tenantOf returns the id of the tenant that a key was issued to.
func tenantOf(object client.Object) string {
	key, ok := object.(*keysv1alpha1.ApiKey)
	if !ok {
		return ""
	}
	return key.Status.TenantID
}

// holders returns the tenants whose ledger has a place for a key.
func (c *Controller) holders(ctx context.Context, key client.Object) []reconcile.Request {
	return c.tenants(ctx, func(tenant *keysv1alpha1.Tenant) bool { return ledger.Holds(tenant, string(key.GetUID())) })
}

// othersWithID returns the other tenants with the same id: only the oldest of them is Ready.
func (c *Controller) othersWithID(ctx context.Context, object client.Object) []reconcile.Request {
	changed, ok := object.(*keysv1alpha1.Tenant)
	if !ok {
		return nil
	}
	return c.tenants(ctx, func(tenant *keysv1alpha1.Tenant) bool {
		return tenant.Name != changed.Name && strings.EqualFold(tenant.Spec.ID, changed.Spec.ID)
	})
}

func (c *Controller) tenants(ctx context.Context, wanted func(*keysv1alpha1.Tenant) bool) []reconcile.Request {
	list := &keysv1alpha1.TenantList{}
	if err := c.client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil // The cache has stopped, and so will the controller.
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if wanted(&list.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}
