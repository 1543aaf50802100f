package apikey

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// TestUsageAloneIsNoReason checks that what verifiers write doesn't have a key looked at, and that anything else does,
// with it or without.
func TestUsageAloneIsNoReason(t *testing.T) {
	then := metav1.NewTime(time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC))
	used := func(key *keysv1alpha1.ApiKey) {
		key.ResourceVersion = "2"
		key.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "apikey-verifier"}}
		key.Status.LastUsedTime = &then
		key.Status.Usage = []keysv1alpha1.CredentialUsage{{ID: "7Hk2PqZx", LastUsedTime: then}}
	}
	for name, test := range map[string]struct {
		change func(*keysv1alpha1.ApiKey)
		want   bool
	}{
		"nothing":     {func(*keysv1alpha1.ApiKey) {}, false},
		"usage":       {used, false},
		"spec":        {func(key *keysv1alpha1.ApiKey) { key.Spec.State = keysv1alpha1.ApiKeyRevoked }, true},
		"status":      {func(key *keysv1alpha1.ApiKey) { key.Status.Prefix = "nxc_live_7Hk2PqZx" }, true},
		"annotations": {func(key *keysv1alpha1.ApiKey) { key.Annotations = map[string]string{"a": "b"} }, true},
		"deletion":    {func(key *keysv1alpha1.ApiKey) { key.DeletionTimestamp = &then }, true},
		"usage and more": {func(key *keysv1alpha1.ApiKey) {
			used(key)
			key.Spec.State = keysv1alpha1.ApiKeyRevoked
		}, true},
	} {
		before := &keysv1alpha1.ApiKey{}
		after := before.DeepCopy()
		test.change(after)
		if got := notOnlyUsage().Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
		if test.want {
			continue
		}
		if canary().Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}) || claimsChanged().Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}) {
			t.Errorf("%s has keys looked at by another way", name)
		}
	}
}
