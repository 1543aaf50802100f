package system_test

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/fixture"
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
	must(i.cp.Client.Delete(t.Context(), second))
	i.await(t, third, keysv1alpha1.ReasonReady)
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
