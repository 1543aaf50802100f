package apikey

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/ledger"
	"github.com/nexuscommerce/apikey-operator/internal/tenancy"
)

// Keys that find no place in their tenant's ledger wait. When a place is free, the tenant's oldest is looked at and no other, so that what a
// tenant asks for beyond its quota costs nobody anything:
//
//   - As many are looked at as there are places, by placeFreed.
//   - One that does not wait any more, because it took its place or because nobody wants it to have one, has the next be looked at, by
//     leftWaiting. So no place is left free because the key that was to take it is gone.
//   - One that is not in the cache as waiting yet, when a place is freed, is looked at when it is: by its own change.
//   - Each is looked at every now and then in any case.
//
// Whenever a key is looked at, and whether it is new or waits, it gets a place only if there is one for each older key that waits.
const (
	// mostWaiting is how many keys of a namespace wait at a time. The others are looked at every now and then, the oldest first to be let in.
	mostWaiting = 100
	// waitingPatience is how long until a key that waits is looked at though nothing is known to have changed.
	waitingPatience = 10 * time.Minute
)

// beyond ends the message of a key beyond mostWaiting.
var beyond = fmt.Sprintf(" %d older keys of its namespace wait for a place already, so this one does not: it is looked at every %d minutes.",
	mostWaiting, int(waitingPatience.Minutes()))

// waits reports whether a key waits for a place. One that is being deleted doesn't.
func waits(key *keysv1alpha1.ApiKey) bool {
	if key.DeletionTimestamp != nil || verdict(key.Status.Conditions) != keysv1alpha1.ReasonQuotaExceeded {
		return false
	}
	return !strings.HasSuffix(apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionReady).Message, beyond)
}

// withoutPlace is the outcome for a key that finds no place.
func (s *reserve) withoutPlace(key *keysv1alpha1.ApiKey, full *ledger.FullError) *outcome {
	message := sentence(full)
	if s.index != nil && olderThan(key, s.index.Waiting(key.Namespace)) >= mostWaiting {
		message += beyond
	}
	o := refused(keysv1alpha1.ReasonQuotaExceeded, message)
	o.after = waitingPatience
	return o
}

// olderThan returns how many keys are older than one.
func olderThan(key *keysv1alpha1.ApiKey, keys []*keysv1alpha1.ApiKey) (count int) {
	for _, other := range keys {
		if other.UID != key.UID && byAge(other, key) < 0 {
			count++
		}
	}
	return count
}

// Waiting returns the keys of a namespace that wait for a place. They are the cache's own: nobody may change them.
func (i *Index) Waiting(namespace string) []*keysv1alpha1.ApiKey {
	return i.by(waitingIndex, namespace)
}

// keysWaitingForPlace are the tenant's oldest keys that wait, as many as there are places.
func (c *Controller) keysWaitingForPlace(ctx context.Context, object client.Object) []reconcile.Request {
	tenant, ok := object.(*keysv1alpha1.Tenant)
	if !ok {
		return nil
	}
	free := ledger.Max(tenant) - len(tenant.Status.ActiveKeys)
	if free <= 0 {
		return nil
	}
	waiting := c.index.waitingOf(ctx, c.client, tenant)
	return requestsFor(waiting[:min(free, len(waiting))], all)
}

// waitingOf returns the keys of a tenant that wait for a place, the oldest first. They are the cache's own: nobody may change them.
func (i *Index) waitingOf(ctx context.Context, namespaces Getter, tenant *keysv1alpha1.Tenant) (waiting []*keysv1alpha1.ApiKey) {
	for _, name := range i.indexer.ListIndexFuncValues(waitingIndex) {
		namespace := &corev1.Namespace{}
		if err := namespaces.Get(ctx, types.NamespacedName{Name: name}, namespace, client.UnsafeDisableDeepCopy); err != nil {
			continue // It is gone, and its keys with it.
		}
		if len(tenancy.Of(namespace.Labels, []keysv1alpha1.Tenant{*tenant})) > 0 {
			waiting = append(waiting, i.Waiting(name)...)
		}
	}
	slices.SortFunc(waiting, byAge)
	return waiting
}

// ahead returns how many keys come before one: those that wait, are older and have no place yet. waiting is sorted by age.
func ahead(key *keysv1alpha1.ApiKey, waiting []*keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant) (count int) {
	if len(tenant.Status.ActiveKeys)+len(waiting) < ledger.Max(tenant) {
		return 0 // There is room for all of them.
	}
	for _, other := range waiting {
		if byAge(other, key) >= 0 {
			break
		}
		if !ledger.Holds(tenant, string(other.UID)) {
			count++
		}
	}
	return count
}

// byAge compares keys by their age, the oldest first; names decide between those of the same second.
func byAge(a, b *keysv1alpha1.ApiKey) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// leftWaiting passes when a key does not wait for a place any more.
func leftWaiting() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		DeleteFunc: func(e event.DeleteEvent) bool {
			key, ok := e.Object.(*keysv1alpha1.ApiKey)
			return ok && waits(key)
		},
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*keysv1alpha1.ApiKey)
			after, isKey := e.ObjectNew.(*keysv1alpha1.ApiKey)
			return ok && isKey && waits(before) && !waits(after)
		},
	}
}

// keysWaitingBeside are those that may have the place of a key which does not wait any more.
func (c *Controller) keysWaitingBeside(ctx context.Context, object client.Object) (requests []reconcile.Request) {
	namespace := &corev1.Namespace{}
	if err := c.client.Get(ctx, types.NamespacedName{Name: object.GetNamespace()}, namespace, client.UnsafeDisableDeepCopy); err != nil {
		return nil // It is gone. What its tenant's ledger has of it is given back, which is a place that is freed.
	}
	tenants := &keysv1alpha1.TenantList{}
	if err := c.client.List(ctx, tenants, client.UnsafeDisableDeepCopy); err != nil {
		return nil // The cache has stopped, and so will the controller.
	}
	for _, tenant := range tenancy.Of(namespace.Labels, tenants.Items) {
		requests = append(requests, c.keysWaitingForPlace(ctx, tenant)...)
	}
	return requests
}
