package apikey_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/keycache"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// newIndex returns an index of a cache that watches the control plane until the test ends.
func newIndex(ctx context.Context) *keycache.Index {
	GinkgoHelper()
	informers, err := cache.New(cp.Config, cache.Options{Scheme: controlplane.Scheme()})
	Expect(err).NotTo(HaveOccurred())
	index, err := keycache.NewIndex(ctx, informers)
	Expect(err).NotTo(HaveOccurred())
	go func() { _ = informers.Start(ctx) }()
	Expect(informers.WaitForCacheSync(ctx)).To(BeTrue())
	return index
}

// held has a key stay for a while once it is deleted.
func held(key *keysv1alpha1.ApiKey) { key.Finalizers = []string{"example.com/held"} }

// The tests of places that keys have in their tenant's ledger before they are looked at. They fail when
// Gatherer.Candidates returns nothing, or leaves out a part of admissible; when a new key's place is taken anew; when
// keystate.NeverIssued is never true; and when Admit does not save that a refused key is admitted.
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

	It("are for older keys that wait, and not for one that comes when a place is free", func(ctx SpecContext) {
		// It fails when takePlaces does not ask who waits, when ahead counts nobody, and when a key that is being deleted waits.
		w := newWorld(ctx, func(t *keysv1alpha1.Tenant) { t.Spec.MaxKeys = new(int32(1)) })
		index := newIndex(ctx)
		w.controller = w.newController(w.client, func(o *apikey.Options) { o.Keys = index })
		named := func(name string) func(*keysv1alpha1.ApiKey) {
			return func(k *keysv1alpha1.ApiKey) { k.Name = name } // Which decides between keys of the same second.
		}
		free := func() {
			read(ctx, w.tenant)
			w.tenant.Status.ActiveKeys = nil
			Expect(cp.Client.Status().Update(ctx, w.tenant)).To(Succeed())
		}
		waiting := func(n int) { // As the cache has it.
			GinkgoHelper()
			Eventually(func() int { return len(index.Waiting(ctx, w.namespace.Name)) }).Should(Equal(n))
		}
		expectReady(ctx, w.create(ctx, named("a")))
		oldest, next := w.create(ctx, named("b"), held), w.create(ctx, named("c"))
		waiting(2)

		free()
		newest := w.create(ctx, named("d"))
		expectRefused(newest, "QuotaExceeded", "has 0 of at most 1 active keys, and older keys wait")
		w.reconcile(ctx, next)
		expectRefused(next, "QuotaExceeded", "has 0 of at most 1 active keys, and older keys wait")
		w.reconcile(ctx, oldest)
		expectReady(ctx, oldest)
		waiting(2)

		By("two that wait, and two places; and then one that waits and is being deleted")
		read(ctx, w.tenant)
		w.tenant.Spec.MaxKeys = new(int32(3))
		Expect(cp.Client.Update(ctx, w.tenant)).To(Succeed())
		w.reconcile(ctx, newest)
		expectReady(ctx, newest)
		w.reconcile(ctx, next)
		expectReady(ctx, next)
		leaving := w.create(ctx, named("e"), held)
		expectRefused(leaving, "QuotaExceeded", "has 3 of at most 3 active keys:")
		waiting(1)
		Expect(cp.Client.Delete(ctx, leaving)).To(Succeed())
		waiting(0)
		free()
		expectReady(ctx, w.create(ctx, named("f")))
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
