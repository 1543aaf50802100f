package usage_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/usage"
)

// TestEveryTimeAheadIsCorrected checks that a time of use that has not come is found and replaced, wherever it is in
// status, and that a clock that is a little ahead is none.
func TestEveryTimeAheadIsCorrected(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	at := func(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(d)) }
	for name, c := range map[string]struct {
		key, first, second time.Duration
		ahead              bool
	}{
		"all in the past":           {-time.Hour, -time.Hour, -time.Minute, false},
		"a clock a little ahead":    {9 * time.Second, 9 * time.Second, 9 * time.Second, false},
		"the key's":                 {time.Minute, -time.Hour, -time.Hour, true},
		"the first credential's":    {-time.Hour, time.Minute, -time.Hour, true},
		"the second credential's":   {-time.Hour, -time.Hour, time.Minute, true},
		"a century, of the second":  {-time.Hour, -time.Hour, 100 * 365 * 24 * time.Hour, true},
		"a century, of all of them": {876000 * time.Hour, 876000 * time.Hour, 876000 * time.Hour, true},
	} {
		key := &keysv1alpha1.ApiKey{}
		used := at(c.key)
		key.Status.LastUsedTime = &used
		key.Status.Usage = []keysv1alpha1.CredentialUsage{
			{ID: "first000", LastUsedTime: at(c.first)}, {ID: "second00", LastUsedTime: at(c.second)},
		}
		if got := usage.Ahead(key, now); got != c.ahead {
			t.Errorf("%s: ahead is %t", name, got)
		}
		if _, err := (usage.Correction{}).Reconcile(t.Context(), lifecycle.New(key, now, nil)); err != nil {
			t.Fatal(err)
		}
		if usage.Ahead(key, now) {
			t.Errorf("%s: it is still ahead", name)
		}
		if !c.ahead && !key.Status.LastUsedTime.Equal(&used) {
			t.Errorf("%s: it was changed to %s", name, key.Status.LastUsedTime)
		}
	}
}
