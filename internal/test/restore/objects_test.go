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
	"github.com/nexuscommerce/apikey-operator/internal/test/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/program"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// forget leaves of an object what a backup of objects brings back: no UID, no version, and the owners that were.
func forget(object client.Object) {
	object.SetUID("")
	object.SetResourceVersion("")
	object.SetCreationTimestamp(metav1.Time{})
	object.SetManagedFields(nil)
}

// TestObjects deletes keys and creates them again as a backup of objects does (Velero's, or kubectl get -o yaml): without
// status, with other UIDs, and with their Secrets there first.
func TestObjects(t *testing.T) {
	l := newLab(t, controlplane.Options{ControllerManager: true})
	v := l.startVerifier(t)
	old, gone := l.mint(t, "restored"), l.mint(t, "gone")
	root, err := token.RootFrom([]byte("a root key of 32 bytes elsewhere"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := token.Derive(root, token.FormatLive, "elsewhere", "AAAAAAAA")
	if err != nil {
		t.Fatal(err)
	}
	digest := elsewhere.Digest().String()[len("sha256:"):]
	registered := fixture.ApiKey(l.namespace, "registered", func(key *keysv1alpha1.ApiKey) {
		key.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: digest, Prefix: elsewhere.Prefix()}
	})
	if err := l.cp.Client.Create(t.Context(), registered); err != nil {
		t.Fatal(err)
	}
	l.await(t, "registered", keysv1alpha1.ConditionReady)
	l.change(t, "gone", revoked)
	l.await(t, "gone", keysv1alpha1.ConditionRevocationEffective)

	backup := &keysv1alpha1.ApiKeyList{}
	if err := l.cp.Client.List(t.Context(), backup, client.InNamespace(l.namespace)); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{}
	if err := l.cp.Client.Get(t.Context(), client.ObjectKey{Namespace: l.namespace, Name: "restored"}, secret); err != nil {
		t.Fatal(err)
	}
	owner := secret.OwnerReferences[0].UID
	for i := range backup.Items {
		if err := l.cp.Client.Delete(t.Context(), &backup.Items[i]); err != nil {
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

	forget(secret)
	if err := l.cp.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	for i := range backup.Items {
		key := &backup.Items[i]
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
