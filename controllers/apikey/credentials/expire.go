package credentials

import (
	"context"
	"fmt"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
)

const notExpired = "The key has not expired."

// Expire is the step that records that a key's expiry has passed, once and for all: changing spec.expiry afterwards
// does not bring the key back, only a rotation that somebody asks for does. Verifiers refuse the key by the clock,
// recorded or not.
type Expire struct{}

// Reconcile implements lifecycle.Step.
func (Expire) Reconcile(ctx context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	expires := r.Key.Status.ExpiresTime
	recorded := r.Conditions().IsTrue(keysv1alpha1.ConditionExpired)
	if !recorded && (expires == nil || r.Now.Before(expires)) {
		return lifecycle.Result{}, nil
	}
	message := expiredMessage(r.Key)
	if !recorded {
		// A rotation that was requested while the key still worked must not issue it again, which takes more rights.
		r.Key.Status.LastHandledRotateAt = rotateRequest(r.Key)
	}
	r.Conditions().SetTrue(keysv1alpha1.ConditionExpired, keysv1alpha1.ReasonExpired, message)
	// The token of a registered digest cannot be replaced, and must not come back.
	if rotationRequested(r.Key) && r.Key.Spec.Digest == nil {
		return lifecycle.Result{}, reissue(ctx, r)
	}
	r.Key.Status.NextRotationTime = nil
	return lifecycle.Result{Outcome: status.Requested(keysv1alpha1.ReasonExpired, message)}, nil
}

func expiredMessage(key *keysv1alpha1.ApiKey) string {
	wayOut := "rotate it, or create another ApiKey"
	if key.Spec.Digest != nil {
		wayOut = "create another ApiKey, with the digest of another token"
	}
	if expires := key.Status.ExpiresTime; expires != nil {
		return fmt.Sprintf("The key expired at %s: %s.", expires.UTC().Format(time.RFC3339), wayOut)
	}
	return fmt.Sprintf("The key has expired: %s.", wayOut)
}

// reissue turns an expired key into one that has not been issued: it needs a place in the ledger again, and gets
// another credential. The expired credentials are forgotten, so they stay refused.
func reissue(ctx context.Context, r *lifecycle.Reconciliation) error {
	r.Key.Status.Credentials, r.Key.Status.Prefix = nil, ""
	r.Key.Status.IssuedTime, r.Key.Status.ExpiresTime, r.Key.Status.Expires = nil, nil, ""
	setNotExpired(r)
	return r.Save(ctx)
}

func setNotExpired(r *lifecycle.Reconciliation) {
	r.Conditions().SetFalse(keysv1alpha1.ConditionExpired, keysv1alpha1.ReasonNotExpired, notExpired)
}
