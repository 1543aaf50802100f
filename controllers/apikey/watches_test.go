package apikey

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/event"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/rollout"
)

// TestKeyIsNotReconciledForUsageAlone checks that a key is not reconciled when verifiers write its usage, and that it
// is for any other change.
func TestKeyIsNotReconciledForUsageAlone(t *testing.T) {
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
		"nothing": {func(*keysv1alpha1.ApiKey) {}, false},
		"usage":   {used, false},
		"usage ahead": {func(key *keysv1alpha1.ApiKey) {
			used(key)
			key.Status.LastUsedTime = &metav1.Time{Time: then.Add(time.Hour)}
		}, true},
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
		update := event.UpdateEvent{ObjectOld: before, ObjectNew: after}
		if got := notOnlyUsage(clocktesting.NewFakePassiveClock(then.Add(time.Minute))).Update(update); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
		if test.want {
			continue
		}
		if isCanary().Update(update) || claimsChanged().Update(update) {
			t.Errorf("%s makes keys be reconciled by another watch", name)
		}
	}
}

// TestCanaryIsReconciledUntilObserved checks that the canary is reconciled until its status has the observed
// generation, even if no verifier has written to it: whatever waits for a whole installation (kstatus) waits for that
// too.
func TestCanaryIsReconciledUntilObserved(t *testing.T) {
	name := types.NamespacedName{Namespace: "apikey-system", Name: keysv1alpha1.CanaryName}
	verifiers := rollout.NewVerifiers(nil, nil, name.Namespace, clocktesting.NewFakePassiveClock(time.Now()))
	w := newWatches(nil, nil, verifiers)
	canary := &keysv1alpha1.ApiKey{}
	canary.Namespace, canary.Name, canary.Generation = name.Namespace, name.Name, 2
	for observed, want := range map[int64]int{-1: 1, 1: 1, 2: 0} {
		canary.Status.ObservedGeneration = observed
		got := w.keysAwaitingVerifiers(t.Context(), canary)
		if len(got) != want || want == 1 && got[0].NamespacedName != name {
			t.Errorf("generation 2, and %d was observed: %v is reconciled", observed, got)
		}
	}
}
