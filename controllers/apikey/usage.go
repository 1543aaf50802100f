package apikey

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// clocksDiffer is how far a verifier's clock may be ahead of the controller's. It is the resolution of what verifiers write.
const clocksDiffer = 10 * time.Second

// usage puts right what says that a key was used at a time that has not come: a verifier whose clock is wrong has written it, or one that
// was taken over. Nobody would ever see the key as unused, and verifiers write no time that is earlier. When it was truly used is not
// known: not later than now.
type usage struct{}

func (usage) run(_ context.Context, r *round) (*outcome, error) {
	if !UsedAhead(r.key, r.now.Time) {
		return nil, nil
	}
	bound := func(t *metav1.Time) {
		if r.now.Before(t) {
			*t = r.now
		}
	}
	if used := r.key.Status.LastUsedTime; used != nil {
		bound(used)
	}
	for i := range r.key.Status.Usage {
		bound(&r.key.Status.Usage[i].LastUsedTime)
	}
	return nil, nil
}

// UsedAhead reports whether a key's status says that it was used at a time that has not come.
func UsedAhead(key *keysv1alpha1.ApiKey, now time.Time) bool {
	latest := now.Add(clocksDiffer)
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
