package feed

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// TestMintedIsWhatStatusSays checks that a claim is a minted one by the number of its root key, which only the controller can have
// written: what spec says counts for nothing.
func TestMintedIsWhatStatusSays(t *testing.T) {
	key := everything()
	key.Status.Credentials[1].Root = 0
	key.Spec.Digest = &keysv1alpha1.TokenDigest{}
	if claims := Claims(key); !claims[0].Minted || claims[1].Minted {
		t.Errorf("minted: %t and %t", claims[0].Minted, claims[1].Minted)
	}
}

// TestARevokedKeyStaysSo checks that a revoked key is one while a finalizer holds it: others' claims depend on it.
func TestARevokedKeyStaysSo(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*keysv1alpha1.ApiKey)
		want   index.State
	}{
		"deleted":               {func(*keysv1alpha1.ApiKey) {}, index.StateDeleting},
		"revoked in spec":       {func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked }, index.StateRevoked},
		"revoked in status":     {condition(keysv1alpha1.ConditionRevoked, "True", keysv1alpha1.ReasonRevoked), index.StateRevoked},
		"suspended and deleted": {func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended }, index.StateDeleting},
	} {
		key := everything()
		test.change(key)
		key.DeletionTimestamp = &metav1.Time{Time: noon}
		for _, claim := range Claims(key) {
			if claim.State != test.want {
				t.Errorf("%s: state %d, want %d", name, claim.State, test.want)
			}
		}
	}
}
