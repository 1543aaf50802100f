package apikey

import (
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// claimsChanged passes when a key claims other digests than before, is revoked, or is gone: the decision about keys
// that register one of its digests may change.
func claimsChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*keysv1alpha1.ApiKey)
			after, isKey := e.ObjectNew.(*keysv1alpha1.ApiKey)
			return ok && isKey && (keystate.Revoked(before) != keystate.Revoked(after) ||
				!slices.Equal(keystate.ClaimedDigests(before), keystate.ClaimedDigests(after)))
		},
	}
}

// rivals returns the keys that register a digest which another key, minted or not, has claimed or holds no more.
func (w *watches) rivals(_ context.Context, object client.Object) []reconcile.Request {
	changed, ok := object.(*keysv1alpha1.ApiKey)
	if !ok {
		return nil
	}
	var requests []reconcile.Request
	for _, digest := range keystate.ClaimedDigests(changed) {
		requests = append(requests, requestsFor(w.cached.Registering(digest), func(key *keysv1alpha1.ApiKey) bool {
			return key.UID != changed.UID
		})...)
	}
	return requests
}
