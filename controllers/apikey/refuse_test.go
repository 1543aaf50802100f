package apikey_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

var _ = Describe("Refusing", func() {
	It("refuses a key whose namespace no tenant selects, until one does", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		labels := env.namespace.Labels
		env.namespace.Labels = nil
		Expect(cp.Client.Update(ctx, env.namespace)).To(Succeed())
		key := env.create(ctx)
		expectRefused(key, "NoTenant", "No tenant selects namespace "+key.Namespace)
		Expect(key.Status.Credentials).To(BeEmpty())

		env.namespace.Labels = labels
		Expect(cp.Client.Update(ctx, env.namespace)).To(Succeed())
		env.reconcile(ctx, key)
		expectReady(ctx, key)
	})

	It("refuses a key whose namespace two tenants select, and names them", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		second := fixture.Tenant(fixture.Name("tenant"), func(t *keysv1alpha1.Tenant) {
			t.Spec.NamespaceSelector = env.tenant.Spec.NamespaceSelector
		})
		Expect(cp.Client.Create(ctx, second)).To(Succeed())
		key := env.create(ctx)
		expectRefused(key, "AmbiguousTenant", env.tenant.Name)
		Expect(message(key, "Ready")).To(ContainSubstring(second.Name))
		Expect(key.Status.Credentials).To(BeEmpty())
	})

	It("refuses keys of a tenant whose id an older tenant has", func(ctx SpecContext) {
		older := newEnvironment(ctx)
		env := newEnvironment(ctx, func(t *keysv1alpha1.Tenant) {
			t.Name = "zz-" + t.Name // The same second may see both: then the name decides.
			t.Spec.ID = older.tenant.Spec.ID
		})
		key := env.create(ctx)
		expectRefused(key, "AmbiguousTenant", "has the id of the older tenant "+older.tenant.Name)
	})

	It("withdraws a key whose namespace moves to another tenant, and gives it back", func(ctx SpecContext) {
		env, other := newEnvironment(ctx), newEnvironment(ctx)
		key := env.create(ctx)
		labels := env.namespace.Labels
		env.namespace.Labels = other.namespace.Labels
		Expect(cp.Client.Update(ctx, env.namespace)).To(Succeed())
		env.reconcile(ctx, key)
		expectRefused(key, "TenantChanged", other.tenant.Name)
		Expect(condition(key, "Admitted")).To(Equal("False/TenantChanged"))
		Expect(key.Status.TenantID).To(Equal(env.tenant.Spec.ID))

		env.namespace.Labels = nil
		Expect(cp.Client.Update(ctx, env.namespace)).To(Succeed())
		env.reconcile(ctx, key)
		expectRefused(key, "TenantChanged", "no tenant selects namespace")

		env.namespace.Labels = labels
		Expect(cp.Client.Update(ctx, env.namespace)).To(Succeed())
		env.reconcile(ctx, key)
		expectReady(ctx, key)
	})

	DescribeTable("refuses what the tenant does not offer, and says what it does",
		func(
			ctx SpecContext, tenant func(*keysv1alpha1.Tenant), change func(*keysv1alpha1.ApiKey), reason, messagePart string,
		) {
			env := newEnvironment(ctx, tenant)
			key := env.create(ctx, change)
			expectRefused(key, reason, messagePart)
			Expect(condition(key, "Admitted")).To(Equal("False/" + reason))
			Expect(key.Status.Credentials).To(BeEmpty())
			Expect(env.events.Events).To(Receive(HavePrefix("Warning " + reason + " ")))
			env.reconcile(ctx, key)
			Expect(env.events.Events).NotTo(Receive(), "an event again, though nothing has changed")
		},
		Entry("an expiry that isn't offered", func(*keysv1alpha1.Tenant) {},
			func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "45d" },
			"ExpiryNotOffered", "does not offer 45d, only 30d, 90d, 1y, Never"),
		Entry("a blank expiry where Never isn't offered",
			func(t *keysv1alpha1.Tenant) { t.Spec.ExpiryOptions = []keysv1alpha1.Expiry{"30d"} },
			func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "" }, "ExpiryNotOffered", "does not offer Never, only 30d"),
		Entry("a scope that the tenant may not grant", ordersOnly,
			func(*keysv1alpha1.ApiKey) {}, "ScopeNotAllowed", "may not grant products:read, only orders:*"),
		Entry("every scope where the tenant may not grant that", ordersOnly,
			func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"*"} }, "ScopeNotAllowed", "may not grant *"),
		Entry("a scope that no policy declares", func(*keysv1alpha1.Tenant) {},
			func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"product:read"} },
			"UnknownScope", "did you mean products:read?"),
		Entry("a suspended tenant", func(t *keysv1alpha1.Tenant) { t.Spec.State = keysv1alpha1.TenantSuspended },
			func(*keysv1alpha1.ApiKey) {}, "TenantSuspended", "is suspended"),
	)

	It("keeps the grant of a key that asks for more than it may have", func(ctx SpecContext) {
		env := newEnvironment(ctx, func(t *keysv1alpha1.Tenant) { t.Spec.AllowedScopes = []keysv1alpha1.Scope{"products:*"} })
		key := env.create(ctx)
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = append(k.Spec.Scopes, "orders:read") })
		expectRefused(key, "ScopeNotAllowed", "orders:read")
		Expect(key.Status.Scopes).To(ConsistOf(keysv1alpha1.Scope("products:read")))
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) {
			k.Spec.Scopes = []keysv1alpha1.Scope{"products:read", "products:write"}
		})
		expectReady(ctx, key)
		Expect(key.Status.Scopes).To(ConsistOf(keysv1alpha1.Scope("products:read"), keysv1alpha1.Scope("products:write")))
	})

	It("counts a new expiry from the key's issue", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		issued := key.Status.IssuedTime.Time
		env.clock.SetTime(env.clock.Now().AddDate(0, 0, 10))
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "30d" })
		expectReady(ctx, key)
		Expect(key.Status.ExpiresTime.Time).To(Equal(issued.AddDate(0, 0, 30)))
	})

	It("refuses the twenty-first key, and mints it once a place is free", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		var last *keysv1alpha1.ApiKey
		for range 20 {
			last = env.create(ctx)
			expectReady(ctx, last)
		}
		key := env.create(ctx)
		expectRefused(key, "QuotaExceeded", "has 20 of at most 20 active keys")
		Expect(message(key, "Ready")).NotTo(ContainSubstring(last.Name), "which keys there are is not for everybody to know")

		read(ctx, env.tenant)
		env.tenant.Status.ActiveKeys = env.tenant.Status.ActiveKeys[:19]
		Expect(cp.Client.Status().Update(ctx, env.tenant)).To(Succeed())
		env.reconcile(ctx, key)
		expectReady(ctx, key)
	})

	It("does not end a live key when maxKeys is lowered", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		read(ctx, env.tenant)
		none := int32(0)
		env.tenant.Spec.MaxKeys = &none
		Expect(cp.Client.Update(ctx, env.tenant)).To(Succeed())
		env.reconcile(ctx, key)
		expectReady(ctx, key)
	})

	It("takes a tenant id in capitals as the same id", func(ctx SpecContext) {
		env := newEnvironment(ctx, func(t *keysv1alpha1.Tenant) { t.Spec.ID = "ABCDEF00-1234-4321-8888-" + t.Spec.ID[24:] })
		key := env.create(ctx)
		expectReady(ctx, key)
		Expect(key.Status.TenantID).To(HavePrefix("abcdef00-1234-4321-8888-"))
		env.reconcile(ctx, key)
		expectReady(ctx, key)
	})

	It("treats a tenant whose selector can't be evaluated as one without namespaces", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		read(ctx, env.tenant)
		invalid := []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Nonsense"}}
		env.tenant.Spec.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: invalid}
		Expect(cp.Client.Update(ctx, env.tenant)).To(Succeed())
		expectRefused(env.create(ctx), "NoTenant", "No tenant selects")
	})
})

func ordersOnly(t *keysv1alpha1.Tenant) { t.Spec.AllowedScopes = []keysv1alpha1.Scope{"orders:*"} }
