package restore_test

import (
	"fmt"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// forget removes from an object what a backup of objects does not bring back. The owners that it had stay.
func forget(object client.Object) {
	object.SetUID("")
	object.SetResourceVersion("")
	object.SetCreationTimestamp(metav1.Time{})
	object.SetManagedFields(nil)
}

// register creates a key with the digest of a token that was made elsewhere, and returns that token.
func (b *testbed) register(t *testing.T, name string) token.Token {
	t.Helper()
	root, err := token.RootFrom([]byte("a root key of 32 bytes elsewhere"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := token.Derive(root, token.FormatLive, "elsewhere", "AAAAAAAA")
	if err != nil {
		t.Fatal(err)
	}
	key := fixture.ApiKey(b.namespace, name, func(key *keysv1alpha1.ApiKey) {
		key.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: elsewhere.Digest().String()[len("sha256:"):],
			Prefix: elsewhere.Prefix()}
	})
	b.Create(t, key)
	b.await(t, name, keysv1alpha1.ConditionReady)
	return elsewhere
}

// backUp returns the keys and a key's Secret as they are, and deletes them.
func (b *testbed) backUp(t *testing.T, secretName string) (*keysv1alpha1.ApiKeyList, *corev1.Secret) {
	t.Helper()
	keys := &keysv1alpha1.ApiKeyList{}
	if err := b.Client.List(t.Context(), keys, client.InNamespace(b.namespace)); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = b.namespace, secretName
	b.Get(t, secret)
	for i := range keys.Items {
		b.Delete(t, &keys.Items[i])
	}
	program.WaitUntil(t, timeout, "no Secret", func() error {
		err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), &corev1.Secret{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	})
	return keys, secret
}

// TestObjects deletes keys and creates them again as a backup of objects does (Velero's, or kubectl get -o yaml):
// without status, with other UIDs, and with their Secrets there first.
func TestObjects(t *testing.T) {
	b := newTestbed(t, controlplane.Options{ControllerManager: true})
	v := b.startVerifier(t)
	old, gone := b.mint(t, "restored"), b.mint(t, "gone")
	elsewhere := b.register(t, "registered")
	b.change(t, "gone", revoked)
	b.await(t, "gone", keysv1alpha1.ConditionRevocationEffective)
	keys, secret := b.backUp(t, "restored")
	owner := secret.OwnerReferences[0].UID

	forget(secret)
	b.Create(t, secret)
	for i := range keys.Items {
		key := &keys.Items[i]
		forget(key)
		b.Create(t, key) // The API server drops its status.
	}
	restored := b.await(t, "restored", keysv1alpha1.ConditionReady)
	b.await(t, "registered", keysv1alpha1.ConditionReady)
	b.await(t, "gone", keysv1alpha1.ConditionRevoked)
	renewed := b.Token(t, restored)
	if renewed == old {
		t.Error("the token is the old one")
	}
	b.Get(t, secret)
	if len(secret.OwnerReferences) != 1 || secret.OwnerReferences[0].UID == owner {
		t.Errorf("the Secret belongs to %v", secret.OwnerReferences)
	}
	b.answers(t, v, renewed, http.StatusOK, "")
	b.answers(t, v, elsewhere.Reveal(), http.StatusOK, "")
	b.answers(t, v, old, http.StatusUnauthorized, "invalid_token")
	b.answers(t, v, gone, http.StatusUnauthorized, "invalid_token")
}
