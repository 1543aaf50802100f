package apikey

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

const notExpired = "The key has not expired."

// expire records that a key's expiry has passed, once and for all: changing spec.expiry afterwards does not bring it back,
// only a rotation that somebody asks for does. Verifiers refuse the key by the clock, recorded or not.
type expire struct{}

func (expire) run(ctx context.Context, r *round) (*outcome, error) {
	expires := r.key.Status.ExpiresTime
	if !r.is(keysv1alpha1.ConditionExpired) && (expires == nil || r.now.Before(expires)) {
		return nil, nil
	}
	wayOut := "rotate it, or create another ApiKey"
	if r.key.Spec.Digest != nil {
		wayOut = "create another ApiKey, with the digest of another token"
	}
	message := fmt.Sprintf("The key has expired: %s.", wayOut)
	if expires != nil {
		message = fmt.Sprintf("The key expired at %s: %s.", expires.UTC().Format(time.RFC3339), wayOut)
	}
	if !r.is(keysv1alpha1.ConditionExpired) {
		// A rotation that was asked for while the key still worked must not become its issue anew, which takes more rights.
		r.key.Status.LastHandledRotateAt = rotateRequest(r.key)
	}
	r.set(keysv1alpha1.ConditionExpired, metav1.ConditionTrue, keysv1alpha1.ReasonExpired, message)
	// The token of a digest can't be replaced, and must not come back.
	if rotationRequested(r.key) && r.key.Spec.Digest == nil {
		return nil, reissue(ctx, r)
	}
	r.key.Status.NextRotationTime = nil
	return asked(keysv1alpha1.ReasonExpired, message), nil
}

// reissue makes an expired key one that has not been issued: it needs a place in the ledger again, and gets another
// credential. What has expired is forgotten, so it stays refused.
func reissue(ctx context.Context, r *round) error {
	status := &r.key.Status
	status.Credentials, status.Prefix = nil, ""
	status.IssuedTime, status.ExpiresTime, status.Expires = nil, nil, ""
	r.set(keysv1alpha1.ConditionExpired, metav1.ConditionFalse, keysv1alpha1.ReasonNotExpired, notExpired)
	return r.save(ctx)
}

// foresee says that a key has not expired, or that it soon will: within the shortest of the given windows that its end is
// in. A window as long as the key's whole life says nothing.
func foresee(r *round, windows []time.Duration) {
	status := &r.key.Status
	if status.ExpiresTime == nil {
		r.set(keysv1alpha1.ConditionExpired, metav1.ConditionFalse, keysv1alpha1.ReasonNotExpired, notExpired)
		return
	}
	life, left := status.ExpiresTime.Sub(status.IssuedTime.Time), status.ExpiresTime.Sub(r.now.Time)
	var within time.Duration
	for _, window := range windows {
		switch {
		case window >= life:
		case left > window:
			r.wakeAt(status.ExpiresTime.Add(-window))
		case within == 0 || window < within:
			within = window
		}
	}
	if within == 0 {
		r.set(keysv1alpha1.ConditionExpired, metav1.ConditionFalse, keysv1alpha1.ReasonNotExpired, notExpired)
		return
	}
	r.set(keysv1alpha1.ConditionExpired, metav1.ConditionFalse, keysv1alpha1.ReasonExpiringSoon, fmt.Sprintf(
		"The key expires at %s, which is less than %s ahead: create its successor, or give it a longer spec.expiry.",
		status.ExpiresTime.UTC().Format(time.RFC3339), days(within)))
}

// days writes a duration in days where it is whole days.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day != 0 {
		return d.String()
	}
	if d == day {
		return "1 day"
	}
	return fmt.Sprintf("%d days", d/day)
}
