package apikey_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/fixture"
)

// The tests of places that keys have in their tenant's ledger before they are looked at. They fail when reserve.coming returns
// nothing, or leaves out what alike asks; when a new key's place is taken anew; when ledger.Refused is never true; and when
// admit does not save that a refused key is admitted.
var _ = Describe("Places in the ledger", func() {
	// made creates keys that nobody has looked at.
	made := func(ctx context.Context, w *world, n int, change ...func(*keysv1alpha1.ApiKey)) []*keysv1alpha1.ApiKey {
		GinkgoHelper()
		keys := make([]*keysv1alpha1.ApiKey, n)
		for i := range keys {
			keys[i] = fixture.ApiKey(w.namespace.Name, fixture.Name("key"), change...)
			Expect(cp.Client.Create(ctx, keys[i])).To(Succeed())
		}
		return keys
	}
	places := func(ctx context.Context, w *world) (names []string) {
		GinkgoHelper()
		read(ctx, w.tenant)
		for _, place := range w.tenant.Status.ActiveKeys {
			names = append(names, place.Name)
		}
		return names
	}

	It("are taken in one write for all that are new in a namespace", func(ctx SpecContext) {
		w := newWorld(ctx)
		keys := made(ctx, w, 5)
		for _, key := range keys {
			w.reconcile(ctx, key)
			expectReady(ctx, key)
			Expect(places(ctx, w)).To(ConsistOf(keys[0].Name, keys[1].Name, keys[2].Name, keys[3].Name, keys[4].Name))
		}
		Expect(w.client.ledgers).To(Equal(1))
	})

	It("are kept by a key whose round was cut off, by whichever process", func(ctx SpecContext) {
		w := newWorld(ctx)
		keys := made(ctx, w, 2)
		w.reconcile(ctx, keys[0])
		w.controller = w.newController(w.client)
		w.reconcile(ctx, keys[1])
		expectReady(ctx, keys[1])
		Expect(w.client.ledgers).To(Equal(1))
	})

	DescribeTable("are not taken for a key",
		func(ctx SpecContext, change func(*keysv1alpha1.ApiKey)) {
			w := newWorld(ctx, func(t *keysv1alpha1.Tenant) { t.Spec.AllowedScopes = []keysv1alpha1.Scope{"products:*"} })
			first := made(ctx, w, 1)[0]
			made(ctx, w, 1, change)
			w.reconcile(ctx, first)
			expectReady(ctx, first)
			Expect(places(ctx, w)).To(ConsistOf(first.Name))
		},
		Entry("that would be refused", func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"orders:read"} }),
		Entry("that is revoked", func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked }),
		Entry("that is suspended", func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended }),
		Entry("that is the verifiers' canary", func(k *keysv1alpha1.ApiKey) { k.Labels = map[string]string{keysv1alpha1.CanaryLabel: "true"} }),
		Entry("that brings a digest, which another may hold", func(k *keysv1alpha1.ApiKey) {
			k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: "3c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", Prefix: "nxc_live_7Hk2PqZx"}
		}),
	)

	It("are never more than the tenant may have, and the one that asks comes first", func(ctx SpecContext) {
		w := newWorld(ctx, func(t *keysv1alpha1.Tenant) { t.Spec.MaxKeys = new(int32(2)) })
		keys := made(ctx, w, 4)
		w.reconcile(ctx, keys[3])
		expectReady(ctx, keys[3])
		Expect(places(ctx, w)).To(HaveLen(2))
		ready := 0
		for _, key := range keys {
			w.reconcile(ctx, key)
			if apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionReady) {
				ready++
			} else {
				expectRefused(key, keysv1alpha1.ReasonQuotaExceeded, "has 2 of at most 2 active keys")
			}
		}
		Expect(ready).To(Equal(2))
		Expect(places(ctx, w)).To(HaveLen(2))
	})

	It("are given back for a key that is refused after all, and taken once that is written that it is admitted", func(ctx SpecContext) {
		w := newWorld(ctx)
		keys := made(ctx, w, 2)
		w.reconcile(ctx, keys[0])
		Expect(places(ctx, w)).To(HaveLen(2))
		w.update(ctx, keys[1], func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"product:read"} })
		expectRefused(keys[1], keysv1alpha1.ReasonUnknownScope, "did you mean")
		w.settleTenant(ctx)
		Expect(places(ctx, w)).To(ConsistOf(keys[0].Name))

		// From here on nobody gives it back: its key is admitted, wherever it is looked at.
		w.client.beforeLedger = func() {
			stored := fixture.ApiKey(keys[1].Namespace, keys[1].Name)
			read(ctx, stored)
			Expect(condition(stored, keysv1alpha1.ConditionAdmitted)).To(Equal("True/Admitted"))
			Expect(stored.Status.TenantID).To(BeEmpty(), "it isn't the tenant's before it is issued")
		}
		w.update(ctx, keys[1], func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"products:read"} })
		expectReady(ctx, keys[1])
		w.settleTenant(ctx)
		Expect(places(ctx, w)).To(ConsistOf(keys[0].Name, keys[1].Name))
	})

	It("stay with a key that was issued and asks for what it may not have", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		w.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"product:read"} })
		expectRefused(key, keysv1alpha1.ReasonUnknownScope, "did you mean")
		w.settleTenant(ctx)
		Expect(places(ctx, w)).To(ConsistOf(key.Name))
	})
})
