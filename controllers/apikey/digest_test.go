package apikey_test

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/keycache"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// bringing has a key bring the digest of another's token.
func bringing(name string, other *keysv1alpha1.ApiKey) func(*keysv1alpha1.ApiKey) {
	digest := strings.TrimPrefix(other.Status.Credentials[0].Digest, "sha256:")
	return func(k *keysv1alpha1.ApiKey) {
		k.Name = name
		k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: digest, Prefix: other.Status.Prefix}
	}
}

// sibling is another namespace of the tenant.
func (w *world) sibling(ctx context.Context) *world {
	GinkgoHelper()
	other := *w
	other.namespace = fixture.Namespace(fixture.Name("ns"), w.tenant.Name)
	Expect(cp.Client.Create(ctx, other.namespace)).To(Succeed())
	return &other
}

func revoked(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked }

var _ = Describe("The digest of a minted token", func() {
	const barred = "minted for an ApiKey that is revoked"

	It("is the minted key's, whatever the names and the ages are", func(ctx SpecContext) {
		w := newWorld(ctx)
		holder := w.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Name = "z" })
		expectReady(ctx, holder)
		other := w.create(ctx, bringing("a", holder)) // Of the same second, mostly, in which names decide.
		expectRefused(other, "DigestConflict", "ApiKey "+holder.Namespace+"/z")
		w.reconcile(ctx, holder)
		expectReady(ctx, holder)
		sibling := w.sibling(ctx)
		elsewhere := sibling.create(ctx, bringing("b", holder))
		expectRefused(elsewhere, "DigestConflict", "in another namespace")
		Expect(message(elsewhere, "Ready")).NotTo(ContainSubstring(holder.Namespace), "who reads it may not see that namespace")

		Expect(cp.Client.Delete(ctx, holder)).To(Succeed())
		w.reconcile(ctx, other)
		Expect(condition(other, "Ready")).To(Equal("True/Ready"))
	})

	It("does not come back for anybody once the key is revoked, while that is there", func(ctx SpecContext) {
		w, other := newWorld(ctx), newWorld(ctx)
		minted := w.create(ctx)
		before := other.create(ctx, bringing("before", minted))
		Expect(condition(before, "Ready")).To(Equal("True/Ready"), "another tenant's claim is its own affair")
		w.update(ctx, minted, revoked)

		other.reconcile(ctx, before)
		expectRefused(before, "DigestConflict", barred)
		Expect(message(before, "Ready")).NotTo(ContainSubstring(minted.Namespace), "it names another tenant's key")
		for _, again := range []*keysv1alpha1.ApiKey{other.create(ctx, bringing("after", minted)), w.create(ctx, bringing("own", minted))} {
			expectRefused(again, "DigestConflict", barred)
			Expect(again.Status.Credentials).To(BeEmpty())
		}

		Expect(cp.Client.Delete(ctx, minted)).To(Succeed())
		other.reconcile(ctx, before)
		Expect(condition(before, "Ready")).To(Equal("True/Ready"))
	})

	It("stays refused while a finalizer holds the revoked key", func(ctx SpecContext) {
		w, other := newWorld(ctx), newWorld(ctx)
		minted := w.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Finalizers = []string{"example.com/hold"} })
		w.update(ctx, minted, revoked)
		Expect(cp.Client.Delete(ctx, minted)).To(Succeed())
		again := other.create(ctx, bringing("again", minted))
		expectRefused(again, "DigestConflict", barred)

		read(ctx, minted)
		minted.Finalizers = nil
		Expect(cp.Client.Update(ctx, minted)).To(Succeed())
		other.reconcile(ctx, again)
		Expect(condition(again, "Ready")).To(Equal("True/Ready"))
	})

	It("of every token that the key had at its revocation", func(ctx SpecContext) {
		w, other := newWorld(ctx), newWorld(ctx)
		minted := w.create(ctx)
		first := minted.DeepCopy()
		w.update(ctx, minted, func(k *keysv1alpha1.ApiKey) {
			k.Annotations = map[string]string{keysv1alpha1.RotateAtAnnotation: "now"}
		})
		Expect(minted.Status.Credentials).To(HaveLen(2))
		w.update(ctx, minted, revoked)
		expectRefused(other.create(ctx, bringing("again", first)), "DigestConflict", barred)
	})
})

var _ = Describe("A digest that another tenant has registered", func() {
	It("and revoked, is refused to that tenant alone", func(ctx SpecContext) {
		const digest = "2f26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
		bring := func(name string) func(*keysv1alpha1.ApiKey) {
			return func(k *keysv1alpha1.ApiKey) {
				k.Name = name
				k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: digest, Prefix: "nxc_live_7Hk2PqZx"}
			}
		}
		w, squatter := newWorld(ctx), newWorld(ctx)
		first := squatter.create(ctx, bring("a"))
		key := w.create(ctx, bring("a"))
		squatter.update(ctx, first, revoked)
		w.reconcile(ctx, key)
		Expect(condition(key, "Ready")).To(Equal("True/Ready"))
		Expect(condition(w.create(ctx, bring("b")), "Ready")).To(Equal("False/DigestConflict"), "its own tenant has it")
		Expect(condition(squatter.create(ctx, bring("b")), "Ready")).To(Equal("False/DigestConflict"), "a revoked one isn't registered anew")
	})
})

// rivals are two namespaces of a tenant, with a controller that runs as in production: on what it watches.
type rivals struct {
	*world
	another *corev1.Namespace
	label   string
}

func newRivals(ctx context.Context) *rivals {
	GinkgoHelper()
	w := newWorld(ctx)
	r := &rivals{world: w, another: fixture.Namespace(fixture.Name("ns"), w.tenant.Name), label: fixture.Name("test")}
	Expect(cp.Client.Create(ctx, r.another)).To(Succeed())
	m, err := ctrl.NewManager(cp.Config, ctrl.Options{
		Scheme:     controlplane.Scheme(),
		Metrics:    server.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
		// Those of other tests are none of its business.
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&keysv1alpha1.ApiKey{}: {Label: labels.SelectorFromSet(labels.Set{"test": r.label})},
		}},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
	})
	Expect(err).NotTo(HaveOccurred())
	index, err := keycache.NewIndex(ctx, m.GetCache())
	Expect(err).NotTo(HaveOccurred())
	tenants, err := keycache.NewTenants(ctx, m.GetCache())
	Expect(err).NotTo(HaveOccurred())
	controller := w.newController(m.GetClient(), func(o *apikey.Options) {
		o.Live, o.Clock, o.Keys, o.Tenants = m.GetAPIReader(), clock.RealClock{}, index, tenants
	})
	Expect(controller.Register(m, index)).To(Succeed())
	running, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Start(running) }()
	DeferCleanup(func() {
		stop()
		Eventually(ended).Should(Receive())
	})
	return r
}

// key creates a key that the controller looks after.
func (r *rivals) key(ctx context.Context, namespace, name string, change ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey {
	GinkgoHelper()
	key := fixture.ApiKey(namespace, name, change...)
	key.Labels = map[string]string{"test": r.label}
	Expect(cp.Client.Create(ctx, key)).To(Succeed())
	return key
}

func (r *rivals) change(ctx context.Context, key *keysv1alpha1.ApiKey, change func(*keysv1alpha1.ApiKey)) {
	GinkgoHelper()
	Eventually(func() error {
		if err := cp.Client.Get(ctx, client.ObjectKeyFromObject(key), key); err != nil {
			return err
		}
		change(key)
		return cp.Client.Update(ctx, key)
	}).Should(Succeed())
}

func eventually(ctx context.Context, key *keysv1alpha1.ApiKey, conditionType, want string) {
	GinkgoHelper()
	Eventually(func() string {
		_ = cp.Client.Get(ctx, client.ObjectKeyFromObject(key), key)
		return condition(key, conditionType)
	}).Should(Equal(want), func() string { return key.Name + ": " + message(key, conditionType) })
}

// Red where rivals leaves out minted digests: nothing else makes the younger key be reconciled (L1).
var _ = Describe("A key that waits for a minted key's digest", func() {
	DescribeTable("gets it once that key is gone", func(ctx SpecContext, end func(context.Context, *rivals, *keysv1alpha1.ApiKey)) {
		r := newRivals(ctx)
		holder := r.key(ctx, r.namespace.Name, "holder")
		eventually(ctx, holder, "Ready", "True/Ready")
		younger := r.key(ctx, r.another.Name, "younger", bringing("younger", holder))
		eventually(ctx, younger, "Ready", "False/DigestConflict")
		end(ctx, r, holder)
		eventually(ctx, younger, "Ready", "True/Ready")
	},
		Entry("deleted", func(ctx context.Context, _ *rivals, holder *keysv1alpha1.ApiKey) {
			Expect(cp.Client.Delete(ctx, holder)).To(Succeed())
		}),
		Entry("revoked, and then deleted", func(ctx context.Context, r *rivals, holder *keysv1alpha1.ApiKey) {
			r.change(ctx, holder, revoked)
			eventually(ctx, holder, "Revoked", "True/Revoked")
			Expect(cp.Client.Delete(ctx, holder)).To(Succeed())
		}),
		Entry("moved to another tenant, and then deleted", func(ctx context.Context, r *rivals, holder *keysv1alpha1.ApiKey) {
			read(ctx, r.namespace)
			r.namespace.Labels = newWorld(ctx).namespace.Labels
			Expect(cp.Client.Update(ctx, r.namespace)).To(Succeed())
			eventually(ctx, holder, "Ready", "False/TenantChanged")
			Expect(cp.Client.Delete(ctx, holder)).To(Succeed())
		}),
		Entry("deleted with its namespace", func(ctx context.Context, r *rivals, _ *keysv1alpha1.ApiKey) {
			Expect(cp.Client.Delete(ctx, r.namespace)).To(Succeed())
			// As kube-controller-manager does it, which does not run here.
			Expect(cp.Client.DeleteAllOf(ctx, &keysv1alpha1.ApiKey{}, client.InNamespace(r.namespace.Name))).To(Succeed())
		}),
		Entry("deleted and created anew under its name", func(ctx context.Context, r *rivals, holder *keysv1alpha1.ApiKey) {
			Expect(cp.Client.Delete(ctx, holder)).To(Succeed())
			r.key(ctx, r.namespace.Name, "holder")
		}),
		Entry("without that token since its rotation", func(ctx context.Context, r *rivals, holder *keysv1alpha1.ApiKey) {
			r.change(ctx, holder, func(k *keysv1alpha1.ApiKey) {
				k.Spec.Rotation = &keysv1alpha1.Rotation{Every: "30d", Overlap: "1s"}
				k.Annotations = map[string]string{keysv1alpha1.RotateAtAnnotation: "now"}
			})
		}),
	)

	It("is told when that key is revoked, whichever tenant's it is", func(ctx SpecContext) {
		r := newRivals(ctx)
		elsewhere := newWorld(ctx)
		holder := r.key(ctx, r.namespace.Name, "holder")
		eventually(ctx, holder, "Ready", "True/Ready")
		other := r.key(ctx, elsewhere.namespace.Name, "other", bringing("other", holder))
		eventually(ctx, other, "Ready", "True/Ready")
		r.change(ctx, holder, revoked)
		eventually(ctx, other, "Ready", "False/DigestConflict")
		Expect(cp.Client.Delete(ctx, holder)).To(Succeed())
		eventually(ctx, other, "Ready", "True/Ready")
	}, SpecTimeout(time.Minute))
})
