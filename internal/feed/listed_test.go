package feed

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// TestStreamedList checks that each key of the first streamed list takes effect as soon as it arrives, and that the
// index counts as complete only at the end of the list. The changes of a later list take effect only at its end.
func TestStreamedList(t *testing.T) {
	observed, synced := 0, 0
	s := &credentialStore{
		credentials: index.NewCredentials(),
		observe:     func(*keysv1alpha1.ApiKey) { observed++ },
		synced:      func() { synced++ },
	}
	gone, stays, comes, canary := listedKey("gone"), listedKey("stays"), listedKey("comes"), listedKey("canary")
	canary.Labels = map[string]string{keysv1alpha1.CanaryLabel: ""}
	first := streamed(t, s, gone, stays)
	if !knows(s, gone) || !knows(s, stays) || s.applied() != "" || synced != 0 {
		t.Errorf("while the first list is under way: gone known %t, stays known %t, version %q, %d synced",
			knows(s, gone), knows(s, stays), s.applied(), synced)
	}
	if err := s.Replace(first, "1"); err != nil {
		t.Fatal(err)
	}
	items := streamed(t, s, stays, comes, canary)
	for key, want := range map[*keysv1alpha1.ApiKey]bool{gone: true, stays: true, comes: false, canary: false} {
		if got := knows(s, key); got != want {
			t.Errorf("while the list is under way, %s is known: %t, want %t", key.Name, got, want)
		}
	}
	if s.applied() != "1" || observed != 0 || synced != 1 {
		t.Errorf("while the list is under way: version %s, %d observed, %d synced", s.applied(), observed, synced)
	}
	if err := s.Replace(items, "2"); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[*keysv1alpha1.ApiKey]bool{gone: false, stays: true, comes: true, canary: true} {
		if got := knows(s, key); got != want {
			t.Errorf("after the list, %s is known: %t, want %t", key.Name, got, want)
		}
	}
	if s.applied() != "2" || observed != 1 || synced != 2 {
		t.Errorf("after the list: version %s, %d observed, %d synced", s.applied(), observed, synced)
	}
}

// TestRestoredList checks that a list of an older state is recognised before any key works that did not work before it.
func TestRestoredList(t *testing.T) {
	back := false
	s := &credentialStore{
		credentials: index.NewCredentials(),
		observe:     func(*keysv1alpha1.ApiKey) {}, synced: func() {}, rollbackDetected: func(string) { back = true },
	}
	deleted, paused, taken := listedKey("deleted"), listedKey("paused"), listedKey("taken")
	suspended, revoked := paused.DeepCopy(), taken.DeepCopy()
	suspended.Spec.State, revoked.Spec.State = keysv1alpha1.ApiKeySuspended, keysv1alpha1.ApiKeyRevoked
	if err := s.Replace([]any{suspended, revoked}, "1"); err != nil {
		t.Fatal(err)
	}
	works := func(key *keysv1alpha1.ApiKey) bool {
		claim := index.ClaimsOf(key)[0]
		var grant index.Grant
		return s.credentials.Lookup(&claim.Digest, &claim.Tenant, &grant) != nil && grant.State == index.StateActive
	}
	items := streamed(t, s, deleted, paused)
	if works(deleted) || works(paused) || back {
		t.Errorf("before the evidence: deleted works %t, paused works %t, rollback detected %t",
			works(deleted), works(paused), back)
	}
	items = append(items, streamed(t, s, taken)...)
	if !back {
		t.Error("the rollback is not detected")
	}
	if err := s.Replace(items, "2"); err != nil {
		t.Fatal(err)
	}
	if !works(deleted) || !works(paused) { // By now everything is refused.
		t.Error("the list is not applied")
	}
}

// streamed passes keys through the transformer, as those of a streamed list, and returns what the reflector collects.
func streamed(t *testing.T, s *credentialStore, keys ...*keysv1alpha1.ApiKey) []any {
	t.Helper()
	var items []any
	for _, key := range keys {
		item, err := s.Transformer()(key)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, item)
	}
	return items
}

func knows(s *credentialStore, key *keysv1alpha1.ApiKey) bool {
	return slices.Contains(s.credentials.Objects(), objectName(key))
}

// listedKey returns a key with a credential.
func listedKey(name string) *keysv1alpha1.ApiKey {
	digest := token.Digest{0: name[0], 1: name[1]}
	return &keysv1alpha1.ApiKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: "acme", Name: name, UID: types.UID(name), ResourceVersion: "1"},
		Spec:       keysv1alpha1.ApiKeySpec{State: keysv1alpha1.ApiKeyActive},
		Status: keysv1alpha1.ApiKeyStatus{
			TenantID: "3714240b-2e06-4c35-8856-ccc1c096323e",
			Credentials: []keysv1alpha1.Credential{{
				ID: "7Hk2PqZx", Digest: digest.String(), IssuedTime: metav1.Unix(1_700_000_000, 0),
			}},
		},
	}
}
