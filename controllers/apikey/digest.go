package apikey

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// digestNotRevoked refuses a digest whose token was minted for a key that is revoked, whichever tenant's that is: registering
// the digest must not bring the token back. A revoked key that brought its digest binds only its own tenant (digestFree): anybody
// can bring the digest of any token, and must not have it refused to others by that.
func digestNotRevoked(f facts, _ *keysv1alpha1.Tenant) *outcome {
	for i := range f.claimants {
		if other := &f.claimants[i]; other.UID != f.key.UID && minted(other) && revoked(other) {
			// It doesn't say which key: that may be another tenant's.
			return refused(keysv1alpha1.ReasonDigestConflict,
				"spec.digest: the token was minted for an ApiKey that is revoked, and stays refused: register the digest of another token.")
		}
	}
	return nil
}

// digestFree refuses a digest that another key of the tenant holds. Another tenant's claim changes nothing for this one.
func digestFree(f facts, tenant *keysv1alpha1.Tenant) *outcome {
	for i := range f.claimants {
		other := &f.claimants[i]
		if other.UID == f.key.UID || !strings.EqualFold(other.Status.TenantID, tenant.Spec.ID) || !precedes(other, f.key) {
			continue
		}
		// Whoever reads this may not see the tenant's other namespaces.
		which := fmt.Sprintf("another ApiKey of tenant %s, in another namespace,", tenant.Name)
		if other.Namespace == f.key.Namespace {
			which = fmt.Sprintf("the older ApiKey %s/%s of tenant %s", other.Namespace, other.Name, tenant.Name)
		}
		return refused(keysv1alpha1.ReasonDigestConflict, "spec.digest: "+which+" has the same digest: delete one of them.")
	}
	return nil
}

// precedes reports whether a key holds a digest that another claims too. It is as the verifiers have it (package index): the key
// that the token was minted for, then the older one. Names decide between objects of the same second.
func precedes(a, b *keysv1alpha1.ApiKey) bool {
	if minted(a) != minted(b) {
		return minted(a)
	}
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
}

// minted reports whether a key's tokens are the controller's own.
func minted(key *keysv1alpha1.ApiKey) bool {
	return slices.ContainsFunc(key.Status.Credentials, func(c keysv1alpha1.Credential) bool { return c.Root > 0 })
}

// revoked reports whether somebody has revoked a key, as the verifiers have it.
func revoked(key *keysv1alpha1.ApiKey) bool {
	return key.Spec.State == keysv1alpha1.ApiKeyRevoked || apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionRevoked)
}

// claims are the digests that a key has been granted. One that is only asked for in spec is no claim yet.
func claims(key *keysv1alpha1.ApiKey) []string {
	digests := make([]string, len(key.Status.Credentials))
	for i := range key.Status.Credentials {
		digests[i] = key.Status.Credentials[i].Digest
	}
	return digests
}

// claimsChanged passes when a key claims other digests than before, is revoked, or is gone: those that bring one of its digests
// may be judged otherwise.
func claimsChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*keysv1alpha1.ApiKey)
			after, isKey := e.ObjectNew.(*keysv1alpha1.ApiKey)
			return ok && isKey && (!slices.Equal(claims(before), claims(after)) || revoked(before) != revoked(after))
		},
	}
}

// rivals are the keys that bring a digest which another key, minted or not, has claimed, or holds no more.
func (c *Controller) rivals(_ context.Context, object client.Object) []reconcile.Request {
	changed, ok := object.(*keysv1alpha1.ApiKey)
	if !ok {
		return nil
	}
	var requests []reconcile.Request
	for _, digest := range claims(changed) {
		requests = append(requests, requestsFor(c.index.by(askedIndex, beginningOf(digest)), func(key *keysv1alpha1.ApiKey) bool {
			return brought(key) == digest && key.UID != changed.UID
		})...)
	}
	return requests
}
