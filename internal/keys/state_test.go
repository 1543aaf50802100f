package keys_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// working returns a working key, as the controller leaves it. It was issued ten days ago for ninety days.
func working(change ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey {
	issued := metav1.NewTime(now.Add(-10 * day))
	expires := metav1.NewTime(now.Add(80 * day))
	key := &keysv1alpha1.ApiKey{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:         "shop",
			Name:              "warehouse",
			UID:               "1",
			Generation:        3,
			CreationTimestamp: issued,
		},
		Spec: keysv1alpha1.ApiKeySpec{
			DisplayName: "Warehouse Integration",
			Scopes:      []keysv1alpha1.Scope{"products:read"},
			Expiry:      "90d",
			State:       keysv1alpha1.ApiKeyActive,
		},
		Status: keysv1alpha1.ApiKeyStatus{
			ObservedGeneration: 3, Prefix: "nxc_live_7Hk2PqZx", TenantID: acme, Scopes: []keysv1alpha1.Scope{"products:read"},
			IssuedTime: &issued, ExpiresTime: &expires, SecretName: "warehouse",
			Conditions: []metav1.Condition{
				condition(keysv1alpha1.ConditionReady, metav1.ConditionTrue, keysv1alpha1.ReasonReady),
				condition(keysv1alpha1.ConditionExpired, metav1.ConditionFalse, keysv1alpha1.ReasonNotExpired),
			},
		},
	}
	for _, change := range change {
		change(key)
	}
	return key
}

func condition(conditionType string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: status, Reason: reason, Message: "why: " + reason}
}

// conditions replaces a key's.
func conditions(all ...metav1.Condition) func(*keysv1alpha1.ApiKey) {
	return func(k *keysv1alpha1.ApiKey) { k.Status.Conditions = all }
}

// TestRowState checks that a row has the reason and message of the condition that its state is derived from. The states
// themselves are keystate's.
func TestRowState(t *testing.T) {
	for name, test := range map[string]struct {
		change          func(*keysv1alpha1.ApiKey)
		state           keystate.State
		reason, message string
	}{
		"works": {func(*keysv1alpha1.ApiKey) {}, keystate.StateActive, "Ready", "why: Ready"},
		"stalled": {
			conditions(condition("Stalled", "True", "QuotaExceeded")), keystate.StateFailed, "QuotaExceeded",
			"why: QuotaExceeded",
		},
		"changed just now": {
			func(k *keysv1alpha1.ApiKey) { k.Generation++ }, keystate.StateWaiting, "",
			"No controller has seen the key as it is now.",
		},
		"being deleted": {
			func(k *keysv1alpha1.ApiKey) { k.DeletionTimestamp = &metav1.Time{Time: now} }, keystate.StateDeleting, "", "",
		},
	} {
		row := keys.NewRow(working(test.change), now)
		if row.State != test.state || row.Reason != test.reason || row.Message != test.message {
			t.Errorf("%s: %s, %q, %q", name, row.State, row.Reason, row.Message)
		}
	}
}

func TestRow(t *testing.T) {
	row := keys.NewRow(working(func(k *keysv1alpha1.ApiKey) { k.Spec.DisplayName, k.Spec.Expiry = "", "30d" }), now)
	if row.DisplayName != "warehouse" || row.Prefix != "nxc_live_7Hk2PqZx" || row.Secret != "warehouse" ||
		row.TenantID != acme ||
		row.Digest {
		t.Errorf("%+v", row)
	}
	if want := now.Add(20 * day); !row.Expires.Equal(want) {
		t.Errorf("expires %s, want the earlier of what is granted and asked for, %s", row.Expires, want)
	}
}

func TestFilter(t *testing.T) {
	used := func(ago time.Duration) func(*keysv1alpha1.ApiKey) {
		return func(k *keysv1alpha1.ApiKey) { k.Status.LastUsedTime = &metav1.Time{Time: now.Add(-ago)} }
	}
	never := func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry, k.Status.ExpiresTime = "Never", nil }
	revoked := func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked }
	for name, test := range map[string]struct {
		filter keys.Filter
		key    func(*keysv1alpha1.ApiKey)
		wanted bool
	}{
		"no filter":      {keys.Filter{}, revoked, true},
		"expires within": {keys.Filter{ExpiringWithin: 80 * day}, used(0), true},
		"expires later":  {keys.Filter{ExpiringWithin: 79 * day}, used(0), false},
		"never expires":  {keys.Filter{ExpiringWithin: 999 * day}, never, false},
		"has expired": {
			keys.Filter{ExpiringWithin: 80 * day}, func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "1d" }, false,
		},
		"expires within, but is revoked":  {keys.Filter{ExpiringWithin: 80 * day}, revoked, false},
		"unused for so long":              {keys.Filter{UnusedFor: 5 * day}, used(5 * day), true},
		"used since":                      {keys.Filter{UnusedFor: 5 * day}, used(4 * day), false},
		"never used, issued long ago":     {keys.Filter{UnusedFor: 10 * day}, func(*keysv1alpha1.ApiKey) {}, true},
		"never used, issued since":        {keys.Filter{UnusedFor: 11 * day}, func(*keysv1alpha1.ApiKey) {}, false},
		"used before it was issued again": {keys.Filter{UnusedFor: 11 * day}, used(20 * day), false},
		"unused, but revoked":             {keys.Filter{UnusedFor: 5 * day}, revoked, false},
		"unused, but never issued": {
			keys.Filter{UnusedFor: 5 * day}, func(k *keysv1alpha1.ApiKey) { k.Status.IssuedTime = nil }, false,
		},
		"in the state":     {keys.Filter{State: keystate.StateRevoking}, revoked, true},
		"in another state": {keys.Filter{State: keystate.StateActive}, revoked, false},
		"both, and only one holds": {
			keys.Filter{ExpiringWithin: 80 * day, UnusedFor: 11 * day}, func(*keysv1alpha1.ApiKey) {}, false,
		},
		"both": {
			keys.Filter{ExpiringWithin: 80 * day, UnusedFor: 10 * day}, func(*keysv1alpha1.ApiKey) {}, true,
		},
	} {
		row := keys.NewRow(working(test.key), now)
		if got := test.filter.Wants(&row, now); got != test.wanted {
			t.Errorf("%s: %t", name, got)
		}
	}
}
