// Package usage corrects what verifiers have written about a key's use, where it cannot be true.
package usage

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
)

// clockSkew is how far a verifier's clock may be ahead of the controller's. It is the resolution of what verifiers
// write.
const clockSkew = 10 * time.Second

// Correction is the step that replaces a time of use in the future by the current time. A verifier that has a wrong
// clock, or was compromised, has written it. Nobody would ever see the key as unused, and verifiers never write an
// earlier time. When the key was really used is not known, except that it was not later than now.
type Correction struct{}

// Reconcile implements lifecycle.Step.
func (Correction) Reconcile(_ context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	if !Ahead(r.Key, r.Now.Time) {
		return lifecycle.Result{}, nil
	}
	limit := func(t *metav1.Time) {
		if r.Now.Before(t) {
			*t = r.Now
		}
	}
	if used := r.Key.Status.LastUsedTime; used != nil {
		limit(used)
	}
	for i := range r.Key.Status.Usage {
		limit(&r.Key.Status.Usage[i].LastUsedTime)
	}
	return lifecycle.Result{}, nil
}

// Ahead reports whether a key's status has a time of use in the future.
func Ahead(key *keysv1alpha1.ApiKey, now time.Time) bool {
	latest := now.Add(clockSkew)
	if used := key.Status.LastUsedTime; used != nil && used.After(latest) {
		return true
	}
	for i := range key.Status.Usage {
		if key.Status.Usage[i].LastUsedTime.After(latest) {
			return true
		}
	}
	return false
}
