package system_test

import (
	"fmt"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// TestPlacesAreTakenOver checks that a key that waits for a place is minted as soon as one is free: because another key
// is revoked, deleted or expired, or because the tenant may have more keys. And a key whose scope no policy declares
// yet is minted once one does.
func TestPlacesAreTakenOver(t *testing.T) {
	i := newInstallation(t)
	tenant, namespace := i.NewTenant(t, func(tenant *keysv1alpha1.Tenant) {
		tenant.Spec.MaxKeys = new(int32(1))
		tenant.Spec.ExpiryOptions = []keysv1alpha1.Expiry{"1s", "90d"}
	})
	key := func(name string, change ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey {
		return fixture.ApiKey(namespace.Name, name, change...)
	}

	first, second, third := key("first"), key("second"), key("third")
	i.Create(t, first)
	i.Await(t, first, keysv1alpha1.ReasonUnknownScope) // GitOps may apply in any order.
	i.Create(t, fixture.Policy("nexuscommerce"))
	i.Await(t, first, keysv1alpha1.ReasonReady)

	i.Create(t, second)
	i.Await(t, second, keysv1alpha1.ReasonQuotaExceeded)
	i.Revoke(t, first)
	i.Await(t, second, keysv1alpha1.ReasonReady)

	i.Create(t, third)
	i.Await(t, third, keysv1alpha1.ReasonQuotaExceeded)
	undisturbed := waitingKeys(t, i, key)
	i.Delete(t, second)
	i.Await(t, third, keysv1alpha1.ReasonReady)
	undisturbed()
	i.Delete(t, third)

	short := key("short", func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "1s" })
	i.Create(t, short)
	i.Await(t, short, keysv1alpha1.ReasonExpired)
	fourth, fifth := key("fourth"), key("fifth")
	i.Create(t, fourth)
	i.Await(t, fourth, keysv1alpha1.ReasonReady)

	i.Create(t, fifth)
	i.Await(t, fifth, keysv1alpha1.ReasonQuotaExceeded)
	install.Update(t, i, tenant, func(tenant *keysv1alpha1.Tenant) { tenant.Spec.MaxKeys = new(int32(2)) })
	i.Await(t, fifth, keysv1alpha1.ReasonReady)
}

// waitingKeys creates younger keys that wait for a place, and returns a check that nobody has written to one of them
// since, which also deletes them. It fails if the controller reconciles every waiting key when a place becomes free,
// and its message says which keys have the places.
func waitingKeys(t *testing.T, i *install.Installation,
	key func(string, ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey) (check func()) {
	t.Helper()
	waiting := make([]*keysv1alpha1.ApiKey, 10)
	for n := range waiting {
		waiting[n] = key(fmt.Sprint("younger-", n))
		i.Create(t, waiting[n])
		i.Await(t, waiting[n], keysv1alpha1.ReasonQuotaExceeded)
	}
	return func() {
		t.Helper()
		for _, was := range waiting {
			is := was.DeepCopy()
			i.Get(t, is)
			if is.ResourceVersion != was.ResourceVersion {
				t.Errorf("%s was written to: %v", is.Name, is.Status.Conditions)
			}
			i.Delete(t, was)
		}
	}
}
