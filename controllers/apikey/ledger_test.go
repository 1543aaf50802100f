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

// newKeys returns the keys of a cache that watches the control plane until the test ends.
func newKeys(ctx context.Context) *keycache.Keys {
	GinkgoHelper()
	informers, err := cache.New(cp.Config, cache.Options{Scheme: controlplane.Scheme()})
	Expect(err).NotTo(HaveOccurred())
	keys, err := keycache.NewKeys(ctx, informers)
	Expect(err).NotTo(HaveOccurred())
	go func() { _ = informers.Start(ctx) }()
	Expect(informers.WaitForCacheSync(ctx)).To(BeTrue())
	return keys
}

// hold makes a key stay for a while after it is deleted.
func hold(key *keysv1alpha1.ApiKey) { key.Finalizers = []string{"example.com/hold"} }

// These tests are about places in a tenant's ledger that are taken for keys before they are reconciled. They fail when
// Gatherer.Candidates returns nothing, or leaves out a part of admissible; when a new key takes its place a second
// time; when keystate.NeverIssued is never true; and when Admit does not save that a refused key is now admitted.
var _ = Describe("Places in the ledger", func() {
	// made creates keys and does not reconcile them.
	made := func(
		ctx context.Context, env *environment, n int, change ...func(*keysv1alpha1.ApiKey),
	) []*keysv1alpha1.ApiKey {
		GinkgoHelper()
		keys := make([]*keysv1alpha1.ApiKey, n)
		for i := range keys {
			keys[i] = fixture.ApiKey(env.namespace.Name, fixture.Name("key"), change...)
			Expect(cp.Client.Create(ctx, keys[i])).To(Succeed())
		}
		return keys
	}
	places := func(ctx context.Context, env *environment) (names []string) {
		GinkgoHelper()
		read(ctx, env.tenant)
		for _, place := range env.tenant.Status.ActiveKeys {
			names = append(names, place.Name)
		}
		return names
	}

	It("are taken in one write for all new keys of a namespace", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		keys := made(ctx, env, 5)
		for _, key := range keys {
			env.reconcile(ctx, key)
			expectReady(ctx, key)
			Expect(places(ctx, env)).To(ConsistOf(keys[0].Name, keys[1].Name, keys[2].Name, keys[3].Name, keys[4].Name))
		}
		Expect(env.client.ledgers).To(Equal(1))
	})

	It("are kept by a key whose reconciliation was cut off, in any process", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		keys := made(ctx, env, 2)
		env.reconcile(ctx, keys[0])
		env.controller = env.newController(env.client)
		env.reconcile(ctx, keys[1])
		expectReady(ctx, keys[1])
		Expect(env.client.ledgers).To(Equal(1))
	})

	DescribeTable("are not taken for a key",
		func(ctx SpecContext, change func(*keysv1alpha1.ApiKey)) {
			env := newEnvironment(ctx, func(t *keysv1alpha1.Tenant) {
				t.Spec.AllowedScopes = []keysv1alpha1.Scope{"products:*"}
			})
			first := made(ctx, env, 1)[0]
			made(ctx, env, 1, change)
			env.reconcile(ctx, first)
			expectReady(ctx, first)
			Expect(places(ctx, env)).To(ConsistOf(first.Name))
		},
		Entry("that would be refused", func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"orders:read"} }),
		Entry("that is revoked", func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked }),
		Entry("that is suspended", func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended }),
		Entry("that is the verifiers' canary", func(k *keysv1alpha1.ApiKey) {
			k.Labels = map[string]string{keysv1alpha1.CanaryLabel: "true"}
		}),
		Entry("that registers a digest, which another may hold", func(k *keysv1alpha1.ApiKey) {
			const digest = "3c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
			k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: digest, Prefix: "nxc_live_7Hk2PqZx"}
		}),
	)

	It("are never more than the tenant may have, and the key that is reconciled comes first", func(ctx SpecContext) {
		env := newEnvironment(ctx, func(t *keysv1alpha1.Tenant) { t.Spec.MaxKeys = new(int32(2)) })
		keys := made(ctx, env, 4)
		env.reconcile(ctx, keys[3])
		expectReady(ctx, keys[3])
		Expect(places(ctx, env)).To(HaveLen(2))
		ready := 0
		for _, key := range keys {
			env.reconcile(ctx, key)
			if apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionReady) {
				ready++
			} else {
				expectRefused(key, keysv1alpha1.ReasonQuotaExceeded, "has 2 of at most 2 active keys")
			}
		}
		Expect(ready).To(Equal(2))
		Expect(places(ctx, env)).To(HaveLen(2))
	})

	It("are given back by a refused key, and taken again only once its admission is saved", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		keys := made(ctx, env, 2)
		env.reconcile(ctx, keys[0])
		Expect(places(ctx, env)).To(HaveLen(2))
		env.update(ctx, keys[1], func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"product:read"} })
		expectRefused(keys[1], keysv1alpha1.ReasonUnknownScope, "did you mean")
		env.settleTenant(ctx)
		Expect(places(ctx, env)).To(ConsistOf(keys[0].Name))

		// From here on nobody gives the place back: the API server has the key as admitted.
		env.client.beforeLedger = func() {
			stored := fixture.ApiKey(keys[1].Namespace, keys[1].Name)
			read(ctx, stored)
			Expect(condition(stored, keysv1alpha1.ConditionAdmitted)).To(Equal("True/Admitted"))
			Expect(stored.Status.TenantID).To(BeEmpty(), "the key isn't tied to the tenant before it is issued")
		}
		env.update(ctx, keys[1], func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"products:read"} })
		expectReady(ctx, keys[1])
		env.settleTenant(ctx)
		Expect(places(ctx, env)).To(ConsistOf(keys[0].Name, keys[1].Name))
	})

	It("go to older keys that wait, not to a new key that comes when one is free", func(ctx SpecContext) {
		// It fails when takePlaces ignores the keys that wait, when ahead is always 0, and when a key that is being deleted
		// waits.
		env := newEnvironment(ctx, func(t *keysv1alpha1.Tenant) { t.Spec.MaxKeys = new(int32(1)) })
		cached := newKeys(ctx)
		env.controller = env.newController(env.client, func(o *apikey.Options) { o.Keys = cached })
		named := func(name string) func(*keysv1alpha1.ApiKey) {
			return func(k *keysv1alpha1.ApiKey) { k.Name = name } // The name decides between keys of the same second.
		}
		free := func() {
			read(ctx, env.tenant)
			env.tenant.Status.ActiveKeys = nil
			Expect(cp.Client.Status().Update(ctx, env.tenant)).To(Succeed())
		}
		waiting := func(n int) { // In the cache.
			GinkgoHelper()
			Eventually(func() int { return len(cached.Waiting(ctx, env.namespace.Name)) }).Should(Equal(n))
		}
		expectReady(ctx, env.create(ctx, named("a")))
		oldest, next := env.create(ctx, named("b"), hold), env.create(ctx, named("c"))
		waiting(2)

		free()
		newest := env.create(ctx, named("d"))
		expectRefused(newest, "QuotaExceeded", "has 0 of at most 1 active keys, and older keys wait")
		env.reconcile(ctx, next)
		expectRefused(next, "QuotaExceeded", "has 0 of at most 1 active keys, and older keys wait")
		env.reconcile(ctx, oldest)
		expectReady(ctx, oldest)
		waiting(2)

		By("having two keys that wait and two places, and then a key that waits and is being deleted")
		read(ctx, env.tenant)
		env.tenant.Spec.MaxKeys = new(int32(3))
		Expect(cp.Client.Update(ctx, env.tenant)).To(Succeed())
		env.reconcile(ctx, newest)
		expectReady(ctx, newest)
		env.reconcile(ctx, next)
		expectReady(ctx, next)
		leaving := env.create(ctx, named("e"), hold)
		expectRefused(leaving, "QuotaExceeded", "has 3 of at most 3 active keys:")
		waiting(1)
		Expect(cp.Client.Delete(ctx, leaving)).To(Succeed())
		waiting(0)
		free()
		expectReady(ctx, env.create(ctx, named("f")))
	})

	It("are kept by a key that was issued and now asks for what it may not have", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"product:read"} })
		expectRefused(key, keysv1alpha1.ReasonUnknownScope, "did you mean")
		env.settleTenant(ctx)
		Expect(places(ctx, env)).To(ConsistOf(key.Name))
	})
})
