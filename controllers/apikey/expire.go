package apikey

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// expire records that a key's expiry has passed, once and for all: changing spec.expiry afterwards does not bring it back.
// Verifiers refuse the key by the clock, recorded or not.
type expire struct{}

func (expire) run(_ context.Context, r *round) (*outcome, error) {
	expires := r.key.Status.ExpiresTime
	if !r.is(keysv1alpha1.ConditionExpired) && (expires == nil || r.now.Before(expires)) {
		return nil, nil
	}
	message := "The key has expired: rotate it, or create another ApiKey."
	if expires != nil {
		message = fmt.Sprintf("The key expired at %s: rotate it, or create another ApiKey.", expires.UTC().Format(time.RFC3339))
	}
	r.set(keysv1alpha1.ConditionExpired, metav1.ConditionTrue, keysv1alpha1.ReasonExpired, message)
	return asked(keysv1alpha1.ReasonExpired, message), nil
}
