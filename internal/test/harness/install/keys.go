package install

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// NewTenant creates a tenant, and a namespace that belongs to it.
func (i *Installation) NewTenant(t testing.TB, change ...func(*keysv1alpha1.Tenant)) (*keysv1alpha1.Tenant,
	*corev1.Namespace) {
	t.Helper()
	tenant := fixture.Tenant(fixture.Name("tenant"), change...)
	namespace := fixture.Namespace(fixture.Name("ns"), tenant.Name)
	i.Create(t, tenant, namespace)
	return tenant, namespace
}

// Mint creates a key, waits until it is Ready, and returns its token.
func (i *Installation) Mint(t testing.TB, key *keysv1alpha1.ApiKey) string {
	t.Helper()
	i.Create(t, key)
	i.Await(t, key, keysv1alpha1.ConditionReady)
	return i.Token(t, key)
}

// NewKey creates a tenant and a key of it, waits until the key is Ready, and returns it with its token.
func (i *Installation) NewKey(t testing.TB, change ...func(*keysv1alpha1.ApiKey)) (*keysv1alpha1.ApiKey, string) {
	t.Helper()
	_, namespace := i.NewTenant(t)
	key := fixture.ApiKey(namespace.Name, "key", change...)
	return key, i.Mint(t, key)
}

// Await waits until a condition of a key is True, or until Ready has a reason of that name. The key is then as the API
// server has it.
func (i *Installation) Await(t testing.TB, key *keysv1alpha1.ApiKey, name string) {
	t.Helper()
	program.WaitUntil(t, Timeout, "the key "+key.Name+" is "+name, func() error {
		if err := i.Client.Get(t.Context(), client.ObjectKeyFromObject(key), key); err != nil {
			return err
		}
		ready := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionReady)
		if (ready == nil || ready.Reason != name) && !apimeta.IsStatusConditionTrue(key.Status.Conditions, name) {
			return fmt.Errorf("its conditions are %v", key.Status.Conditions)
		}
		return nil
	})
}

// Token returns the token in the Secret that a key's status names.
func (i *Installation) Token(t testing.TB, key *keysv1alpha1.ApiKey) string {
	t.Helper()
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = key.Namespace, key.Status.SecretName
	i.Get(t, secret)
	return string(secret.Data["token"])
}

// Patch changes an object by a JSON merge patch, so that nobody who writes at the same time is in the way.
func (i *Installation) Patch(t testing.TB, object client.Object, patch string) {
	t.Helper()
	changed, ok := object.DeepCopyObject().(client.Object)
	if !ok {
		t.Fatalf("a copy of %T is no object", object)
	}
	if err := i.Client.Patch(t.Context(), changed, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

// Revoke asks for the revocation of a key.
func (i *Installation) Revoke(t testing.TB, key *keysv1alpha1.ApiKey) {
	t.Helper()
	i.Patch(t, key, `{"spec":{"state":"Revoked"}}`)
}

// Update reads an object, changes it and writes it, again if somebody else has written meanwhile.
func Update[T client.Object](t testing.TB, i *Installation, object T, change func(T)) {
	t.Helper()
	if err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := i.Client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change(object)
		return i.Client.Update(t.Context(), object)
	}); err != nil {
		t.Fatal(err)
	}
}
