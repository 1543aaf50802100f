package credentials

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
)

// Schedule is the step that writes what is ahead of a key that works: its next rotation, and a warning before its
// expiry.
type Schedule struct {
	// Warnings are how long before its expiry to warn of it.
	Warnings []time.Duration
}

// Reconcile implements lifecycle.Step.
func (s *Schedule) Reconcile(_ context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	return lifecycle.Result{RequeueAfter: lifecycle.Soonest(scheduleRotation(r), warn(r, s.Warnings))}, nil
}

// scheduleRotation writes when the token is replaced next, and returns the RequeueAfter for that.
func scheduleRotation(r *lifecycle.Reconciliation) time.Duration {
	r.Key.Status.NextRotationTime = nil
	every, ok := rotationPeriod(r.Key.Spec.Rotation)
	if !ok {
		return 0
	}
	next := metav1.NewTime(r.Newest().IssuedTime.Add(every))
	r.Key.Status.NextRotationTime = &next
	return r.Until(next.Time)
}

// warn writes that a key has not expired, or that it soon will: within the shortest of the windows that its expiry is
// in. It returns the RequeueAfter for the next window. A window as long as the key's whole life warns of nothing.
func warn(r *lifecycle.Reconciliation, windows []time.Duration) (after time.Duration) {
	status := &r.Key.Status
	if status.ExpiresTime == nil {
		setNotExpired(r)
		return 0
	}
	life, left := status.ExpiresTime.Sub(status.IssuedTime.Time), status.ExpiresTime.Sub(r.Now.Time)
	var within time.Duration
	for _, window := range windows {
		switch {
		case window >= life:
		case left > window:
			after = lifecycle.Soonest(after, r.Until(status.ExpiresTime.Add(-window)))
		case within == 0 || window < within:
			within = window
		}
	}
	if within == 0 {
		setNotExpired(r)
		return after
	}
	r.Conditions().SetFalse(keysv1alpha1.ConditionExpired, keysv1alpha1.ReasonExpiringSoon, fmt.Sprintf(
		"The key expires at %s, which is less than %s ahead: create its successor, or give it a longer spec.expiry.",
		status.ExpiresTime.UTC().Format(time.RFC3339), days(within)))
	return after
}

// days writes a duration, in days if it is whole days.
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
