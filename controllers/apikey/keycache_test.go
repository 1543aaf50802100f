package apikey_test

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/keycache"
	"github.com/nexuscommerce/apikey-operator/internal/tenancy"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// These tests compare what the indexes find with what a search of all objects finds. They fail when selectedLabel or
// Tenants.For leaves out a label, tenants without a label, or tenants with the same id; and when lifecycle.IsNew is
// always true or always false.
var _ = Describe("The cache's indexes", func() {
	started := func(ctx context.Context) (cache.Cache, *keycache.Keys, *keycache.Tenants) {
		GinkgoHelper()
		c, err := cache.New(cp.Config, cache.Options{Scheme: controlplane.Scheme()})
		Expect(err).NotTo(HaveOccurred())
		keys, err := keycache.NewKeys(ctx, c)
		Expect(err).NotTo(HaveOccurred())
		tenants, err := keycache.NewTenants(ctx, c)
		Expect(err).NotTo(HaveOccurred())
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- c.Start(running) }()
		DeferCleanup(func() {
			stop()
			Eventually(ended).Should(Receive())
		})
		Expect(c.WaitForCacheSync(ctx)).To(BeTrue())
		return c, keys, tenants
	}

	It("find the tenants that select a namespace, and all with the same id", func(ctx SpecContext) {
		team := fixture.Name("team")
		id := fixture.UUID()
		teamIn := func(values ...string) []metav1.LabelSelectorRequirement {
			return []metav1.LabelSelectorRequirement{{Key: "team", Operator: metav1.LabelSelectorOpIn, Values: values}}
		}
		for name, selector := range map[string]*metav1.LabelSelector{
			"one":  {MatchLabels: map[string]string{"team": team}},
			"two":  {MatchLabels: map[string]string{"team": team, "stage": "live"}},
			"some": {MatchExpressions: teamIn(team, "x-"+team)},
			"both": {MatchLabels: map[string]string{"stage": "test"}, MatchExpressions: teamIn(team)},
			"twin": {MatchLabels: map[string]string{"nobody": team}},
		} {
			Expect(cp.Client.Create(ctx, fixture.Tenant(name+"-"+team, func(t *keysv1alpha1.Tenant) {
				t.Spec.NamespaceSelector = selector
				if name == "one" || name == "twin" {
					t.Spec.ID = id
				}
			}))).To(Succeed())
		}
		_, _, tenants := started(ctx)
		every := &keysv1alpha1.TenantList{}
		Expect(cp.Client.List(ctx, every)).To(Succeed())
		names := func(all []*keysv1alpha1.Tenant) (names []string) {
			for _, tenant := range all {
				names = append(names, tenant.Name)
			}
			return names
		}
		for _, labels := range []map[string]string{
			nil, {"team": team}, {"team": team, "stage": "live"}, {"team": team, "stage": "test"}, {"stage": "test"},
			{"team": "x-" + team}, {"stage": "live", "other": "label"}, {"nobody": team}, {"team": team, "nobody": team},
		} {
			found, err := tenants.For(ctx, labels)
			Expect(err).NotTo(HaveOccurred())
			selected := tenancy.Of(labels, every.Items)
			Expect(names(tenancy.Of(labels, found))).To(Equal(names(selected)), fmt.Sprint(labels))
			for _, tenant := range selected {
				holder := tenancy.HolderOf(tenant.Spec.ID, every.Items)
				Expect(tenancy.HolderOf(tenant.Spec.ID, found).Name).To(Equal(holder.Name), fmt.Sprint(labels))
			}
		}
	})

	It("find the keys of which nothing has been written yet, and no others", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		minted := env.create(ctx)
		refused := env.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"product:read"} })
		fresh := fixture.ApiKey(env.namespace.Name, fixture.Name("key"))
		Expect(cp.Client.Create(ctx, fresh)).To(Succeed())
		c, cached, _ := started(ctx)
		found := func() (names []string) {
			keys, err := cached.New(ctx, env.namespace.Name)
			Expect(err).NotTo(HaveOccurred())
			for _, key := range keys {
				names = append(names, key.Name)
			}
			return names
		}
		Expect(found()).To(ConsistOf(fresh.Name))
		keys := &keysv1alpha1.ApiKeyList{}
		Expect(c.List(ctx, keys, client.InNamespace(env.namespace.Name))).To(Succeed())
		Expect(keys.Items).To(HaveLen(3))
		env.reconcile(ctx, fresh)
		expectReady(ctx, fresh)
		Eventually(found).Should(BeEmpty())
		claimants, err := cached.Claimants(ctx, minted.Status.Credentials[0].Digest)
		Expect(err).NotTo(HaveOccurred())
		Expect(claimants).To(HaveLen(1))
		Expect(claimants[0].Name).To(Equal(minted.Name))
		Expect(refused.Status.Credentials).To(BeEmpty())
	})
})
