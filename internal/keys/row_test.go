package keys_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
)

// TestUsedAhead checks that a time of use in the future is not shown.
func TestUsedAhead(t *testing.T) {
	for _, by := range []time.Duration{-day, 0, time.Second, 100 * 365 * day} {
		used := metav1.NewTime(now.Add(by))
		row := keys.NewRow(working(func(k *keysv1alpha1.ApiKey) { k.Status.LastUsedTime = &used }), now)
		if want := now.Add(min(by, 0)); !row.LastUsed.Equal(want) {
			t.Errorf("used %s from now: %s, want %s", by, row.LastUsed, want)
		}
		if idle, ok := row.Idle(now); !ok || idle != -min(by, 0) {
			t.Errorf("used %s from now: idle for %s", by, idle)
		}
	}
}
