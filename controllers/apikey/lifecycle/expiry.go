package lifecycle

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// SetExpiry computes the expiry of a key that is issued: it counts from the issue.
func SetExpiry(key *keysv1alpha1.ApiKey) {
	key.Status.ExpiresTime, key.Status.Expires = nil, string(keysv1alpha1.ExpiryNever)
	if expires, ok := key.Spec.Expiry.From(key.Status.IssuedTime.Time); ok {
		t := metav1.NewTime(expires)
		key.Status.ExpiresTime, key.Status.Expires = &t, expires.UTC().Format("2006-01-02")
	}
}
