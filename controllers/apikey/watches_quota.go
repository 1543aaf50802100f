package apikey

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/quota"
	"github.com/nexuscommerce/apikey-operator/internal/ledger"
	"github.com/nexuscommerce/apikey-operator/internal/tenancy"
)

// Keys that find no place in their tenant's ledger wait. When a place becomes free, only the tenant's oldest key is
// reconciled, so that keys beyond a quota cost nobody else anything:
//
//   - As many keys are reconciled as there are places, by keysWaitingForPlace.
//   - A key that does not wait any more, because it took its place or no longer asks for one, makes the next one be
//     reconciled, by keysWaitingBeside. So no place stays free because the key that was to take it is gone.
//   - A key that the cache does not have yet when a place becomes free is reconciled by its own change, once the cache
//     has it.
//   - Each is reconciled at an interval anyway.
//
// Whenever a key is reconciled, and whether it is new or waits, it gets a place only if there is one for each older key
// that waits.

// keysWaitingForPlace returns the tenant's oldest keys that wait, as many as there are places.
func (w *watches) keysWaitingForPlace(ctx context.Context, object client.Object) []reconcile.Request {
	tenant, ok := object.(*keysv1alpha1.Tenant)
	if !ok {
		return nil
	}
	free := ledger.Max(tenant) - len(tenant.Status.ActiveKeys)
	if free <= 0 {
		return nil
	}
	waiting := w.queue.Of(ctx, tenant)
	return requestsFor(waiting[:min(free, len(waiting))], all)
}

// leftWaiting passes when a key does not wait for a place any more.
func leftWaiting() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		DeleteFunc: func(e event.DeleteEvent) bool {
			key, ok := e.Object.(*keysv1alpha1.ApiKey)
			return ok && quota.Waits(key)
		},
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*keysv1alpha1.ApiKey)
			after, isKey := e.ObjectNew.(*keysv1alpha1.ApiKey)
			return ok && isKey && quota.Waits(before) && !quota.Waits(after)
		},
	}
}

// keysWaitingBeside returns the keys that may have the place of a key which does not wait any more.
func (w *watches) keysWaitingBeside(ctx context.Context, object client.Object) (requests []reconcile.Request) {
	namespace, name := &corev1.Namespace{}, types.NamespacedName{Name: object.GetNamespace()}
	if err := w.client.Get(ctx, name, namespace, client.UnsafeDisableDeepCopy); err != nil {
		return nil // It is gone. What its tenant's ledger has of it is given back, which is a place that is freed.
	}
	tenants := &keysv1alpha1.TenantList{}
	if err := w.client.List(ctx, tenants, client.UnsafeDisableDeepCopy); err != nil {
		return nil // The cache has stopped, and so will the controller.
	}
	for _, tenant := range tenancy.Of(namespace.Labels, tenants.Items) {
		requests = append(requests, w.keysWaitingForPlace(ctx, tenant)...)
	}
	return requests
}
