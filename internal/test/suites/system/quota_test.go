package system_test

import (
	"fmt"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// TestPlacesAreTakenOver has a key wait for a place, and minted by itself when one is free: because another key is
// revoked, deleted or expired, or because the tenant may have more. And a typo in a scope is mended by the policy.
func TestPlacesAreTakenOver(t *testing.T) {
	i := newInstallation(t)
	policy := fixture.Policy("nexuscommerce")
	name := fixture.Name("tenant")
	one := int32(1)
	tenant := fixture.Tenant(name, func(t *keysv1alpha1.Tenant) {
		t.Spec.MaxKeys = &one
		t.Spec.ExpiryOptions = []keysv1alpha1.Expiry{"1s", "90d"}
	})
	namespace := fixture.Namespace(fixture.Name("ns"), name)
	key := func(name string, change ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey {
		return fixture.ApiKey(namespace.Name, name, change...)
	}
	create := func(objects ...client.Object) {
		t.Helper()
		for _, object := range objects {
			if err := i.cp.Client.Create(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	first, second, third := key("first"), key("second"), key("third")
	create(tenant, namespace, first)
	i.await(t, first, keysv1alpha1.ReasonUnknownScope) // GitOps may apply in any order.
	create(policy)
	i.await(t, first, keysv1alpha1.ReasonReady)

	create(second)
	i.await(t, second, keysv1alpha1.ReasonQuotaExceeded)
	update(t, i, first, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
	i.await(t, second, keysv1alpha1.ReasonReady)

	create(third)
	i.await(t, third, keysv1alpha1.ReasonQuotaExceeded)
	undisturbed := i.others(t, key)
	must(i.cp.Client.Delete(t.Context(), second))
	i.await(t, third, keysv1alpha1.ReasonReady)
	undisturbed()
	must(i.cp.Client.Delete(t.Context(), third))

	short := key("short", func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "1s" })
	create(short)
	i.await(t, short, keysv1alpha1.ReasonExpired)
	fourth, fifth := key("fourth"), key("fifth")
	create(fourth)
	i.await(t, fourth, keysv1alpha1.ReasonReady)

	create(fifth)
	i.await(t, fifth, keysv1alpha1.ReasonQuotaExceeded)
	update(t, i, tenant, func(t *keysv1alpha1.Tenant) { t.Spec.MaxKeys = new(int32(2)) })
	i.await(t, fifth, keysv1alpha1.ReasonReady)
}

// others has keys wait that are younger than those before them, and returns a check that nobody has written to one of them since, which
// deletes them. It fails when a freed place has all keys looked at that wait, and their messages say whose the places are.
func (i *installation) others(t *testing.T, key func(string, ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey) (check func()) {
	t.Helper()
	waiting := make([]*keysv1alpha1.ApiKey, 10)
	for n := range waiting {
		waiting[n] = key(fmt.Sprint("younger-", n))
		if err := i.cp.Client.Create(t.Context(), waiting[n]); err != nil {
			t.Fatal(err)
		}
		i.await(t, waiting[n], keysv1alpha1.ReasonQuotaExceeded)
	}
	return func() {
		t.Helper()
		for _, was := range waiting {
			is := was.DeepCopy()
			if err := i.cp.Client.Get(t.Context(), client.ObjectKeyFromObject(was), is); err != nil {
				t.Fatal(err)
			}
			if is.ResourceVersion != was.ResourceVersion {
				t.Errorf("%s was written to: %v", is.Name, is.Status.Conditions)
			}
			if err := i.cp.Client.Delete(t.Context(), was); err != nil {
				t.Fatal(err)
			}
		}
	}
}
