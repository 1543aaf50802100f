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

// TestStreamedList checks that each key of a streamed list counts as soon as it is there, that nothing is known to be complete
// before all of it is, and that what the list lacks goes only then.
func TestStreamedList(t *testing.T) {
	observed, synced := 0, 0
	s := &credentialStore{
		credentials: index.NewCredentials(),
		observe:     func(*keysv1alpha1.ApiKey) { observed++ },
		synced:      func() { synced++ },
	}
	gone, stays, canary := listedKey("gone"), listedKey("stays"), listedKey("canary")
	canary.Labels = map[string]string{keysv1alpha1.CanaryLabel: ""}
	if err := s.Replace([]any{gone}, "1"); err != nil {
		t.Fatal(err)
	}
	var items []any
	for _, key := range []*keysv1alpha1.ApiKey{stays, canary} {
		item, err := s.Transformer()(key)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, item)
	}
	for key, want := range map[*keysv1alpha1.ApiKey]bool{gone: true, stays: true, canary: false} {
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
	for key, want := range map[*keysv1alpha1.ApiKey]bool{gone: false, stays: true, canary: true} {
		if got := knows(s, key); got != want {
			t.Errorf("after the list, %s is known: %t, want %t", key.Name, got, want)
		}
	}
	if s.applied() != "2" || observed != 1 || synced != 2 {
		t.Errorf("after the list: version %s, %d observed, %d synced", s.applied(), observed, synced)
	}
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
			TenantID:    "3714240b-2e06-4c35-8856-ccc1c096323e",
			Credentials: []keysv1alpha1.Credential{{ID: "7Hk2PqZx", Digest: digest.String()}},
		},
	}
}
