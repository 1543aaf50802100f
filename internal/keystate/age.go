package keystate

import (
	"cmp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// IsCanary reports whether a key is the canary, through which verifiers prove their freshness. It has the label, with
// any value. Nothing is minted for it, and it belongs to no tenant.
func IsCanary(key *keysv1alpha1.ApiKey) bool {
	_, labelled := key.Labels[keysv1alpha1.CanaryLabel]
	return labelled
}

// CompareAge compares two objects of a kind by their age, the older first. The API server records their creation to the
// second. Objects of the same second are ordered by namespace/name, as one text.
func CompareAge(a, b metav1.Object) int {
	createdA, createdB := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	if order := cmp.Compare(createdA.Unix(), createdB.Unix()); order != 0 {
		return order
	}
	if a.GetNamespace() == b.GetNamespace() {
		return cmp.Compare(a.GetName(), b.GetName())
	}
	return cmp.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
}

// Precedes reports whether key a comes before key b if both claim the same digest: the key that the token was minted
// for comes first, then the older one. Within a tenant, the first of them holds the digest. The verifier's index keeps
// its claims in this order.
func Precedes(a, b *keysv1alpha1.ApiKey) bool {
	if Minted(a) != Minted(b) {
		return Minted(a)
	}
	return CompareAge(a, b) < 0
}
