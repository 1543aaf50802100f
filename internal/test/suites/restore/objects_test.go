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

// forget leaves of an object what a backup of objects brings back: no UID, no version, and the owners that were.
func forget(object client.Object) {
	object.SetUID("")
	object.SetResourceVersion("")
	object.SetCreationTimestamp(metav1.Time{})
	object.SetManagedFields(nil)
}

// register has a key bring the digest of a token that was made elsewhere, which it returns.
func (l *lab) register(t *testing.T, name string) token.Token {
	t.Helper()
	root, err := token.RootFrom([]byte("a root key of 32 bytes elsewhere"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := token.Derive(root, token.FormatLive, "elsewhere", "AAAAAAAA")
	if err != nil {
		t.Fatal(err)
	}
	key := fixture.ApiKey(l.namespace, name, func(key *keysv1alpha1.ApiKey) {
		key.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: elsewhere.Digest().String()[len("sha256:"):],
			Prefix: elsewhere.Prefix()}
	})
	if err := l.cp.Client.Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	l.await(t, name, keysv1alpha1.ConditionReady)
	return elsewhere
}

// backUp returns the keys and a key's Secret as they are, and deletes them.
func (l *lab) backUp(t *testing.T, secretName string) (*keysv1alpha1.ApiKeyList, *corev1.Secret) {
	t.Helper()
	keys := &keysv1alpha1.ApiKeyList{}
	if err := l.cp.Client.List(t.Context(), keys, client.InNamespace(l.namespace)); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{}
	if err := l.cp.Client.Get(t.Context(), client.ObjectKey{Namespace: l.namespace, Name: secretName},
		secret); err != nil {
		t.Fatal(err)
	}
	for i := range keys.Items {
		if err := l.cp.Client.Delete(t.Context(), &keys.Items[i]); err != nil {
			t.Fatal(err)
		}
	}
	program.WaitUntil(t, patience, "no Secret", func() error {
		err := l.cp.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), &corev1.Secret{})
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
	l := newLab(t, controlplane.Options{ControllerManager: true})
	v := l.startVerifier(t)
	old, gone := l.mint(t, "restored"), l.mint(t, "gone")
	elsewhere := l.register(t, "registered")
	l.change(t, "gone", revoked)
	l.await(t, "gone", keysv1alpha1.ConditionRevocationEffective)
	keys, secret := l.backUp(t, "restored")
	owner := secret.OwnerReferences[0].UID

	forget(secret)
	if err := l.cp.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	for i := range keys.Items {
		key := &keys.Items[i]
		forget(key)
		if err := l.cp.Client.Create(t.Context(), key); err != nil { // Its status is dropped by the API server.
			t.Fatal(err)
		}
	}
	l.await(t, "restored", keysv1alpha1.ConditionReady)
	l.await(t, "registered", keysv1alpha1.ConditionReady)
	l.await(t, "gone", keysv1alpha1.ConditionRevoked)
	renewed := l.token(t, "restored")
	if renewed == old {
		t.Error("the token is the old one")
	}
	if err := l.cp.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Fatal(err)
	}
	if len(secret.OwnerReferences) != 1 || secret.OwnerReferences[0].UID == owner {
		t.Errorf("the Secret belongs to %v", secret.OwnerReferences)
	}
	l.answers(t, v, renewed, http.StatusOK, "")
	l.answers(t, v, elsewhere.Reveal(), http.StatusOK, "")
	l.answers(t, v, old, http.StatusUnauthorized, "invalid_token")
	l.answers(t, v, gone, http.StatusUnauthorized, "invalid_token")
}
