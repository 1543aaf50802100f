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

// registering returns a change that names a key and makes it register the digest of another key's token.
func registering(name string, other *keysv1alpha1.ApiKey) func(*keysv1alpha1.ApiKey) {
	digest := strings.TrimPrefix(other.Status.Credentials[0].Digest, "sha256:")
	return func(k *keysv1alpha1.ApiKey) {
		k.Name = name
		k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: digest, Prefix: other.Status.Prefix}
	}
}

// sibling returns the same environment with another namespace of the tenant.
func (env *environment) sibling(ctx context.Context) *environment {
	GinkgoHelper()
	other := *env
	other.namespace = fixture.Namespace(fixture.Name("ns"), env.tenant.Name)
	Expect(cp.Client.Create(ctx, other.namespace)).To(Succeed())
	return &other
}

func revoke(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked }

var _ = Describe("The digest of a minted token", func() {
	const barred = "minted for an ApiKey that is revoked"

	It("belongs to the key that it was minted for, whatever the names and ages of keys", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		holder := env.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Name = "z" })
		expectReady(ctx, holder)
		other := env.create(ctx, registering("a", holder)) // Of the same second, mostly, in which names decide.
		expectRefused(other, "DigestConflict", "ApiKey "+holder.Namespace+"/z")
		env.reconcile(ctx, holder)
		expectReady(ctx, holder)
		sibling := env.sibling(ctx)
		elsewhere := sibling.create(ctx, registering("b", holder))
		expectRefused(elsewhere, "DigestConflict", "in another namespace")
		Expect(message(elsewhere, "Ready")).NotTo(ContainSubstring(holder.Namespace), "the reader may not see that namespace")

		Expect(cp.Client.Delete(ctx, holder)).To(Succeed())
		env.reconcile(ctx, other)
		Expect(condition(other, "Ready")).To(Equal("True/Ready"))
	})

	It("stays refused to every tenant while the revoked key exists", func(ctx SpecContext) {
		env, other := newEnvironment(ctx), newEnvironment(ctx)
		minted := env.create(ctx)
		before := other.create(ctx, registering("before", minted))
		Expect(condition(before, "Ready")).To(Equal("True/Ready"), "another tenant's claim changes nothing")
		env.update(ctx, minted, revoke)

		other.reconcile(ctx, before)
		expectRefused(before, "DigestConflict", barred)
		Expect(message(before, "Ready")).NotTo(ContainSubstring(minted.Namespace), "it names another tenant's key")
		after, own := other.create(ctx, registering("after", minted)), env.create(ctx, registering("own", minted))
		for _, again := range []*keysv1alpha1.ApiKey{after, own} {
			expectRefused(again, "DigestConflict", barred)
			Expect(again.Status.Credentials).To(BeEmpty())
		}

		Expect(cp.Client.Delete(ctx, minted)).To(Succeed())
		other.reconcile(ctx, before)
		Expect(condition(before, "Ready")).To(Equal("True/Ready"))
	})

	It("stays refused while a finalizer holds the revoked key", func(ctx SpecContext) {
		env, other := newEnvironment(ctx), newEnvironment(ctx)
		minted := env.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Finalizers = []string{"example.com/hold"} })
		env.update(ctx, minted, revoke)
		Expect(cp.Client.Delete(ctx, minted)).To(Succeed())
		again := other.create(ctx, registering("again", minted))
		expectRefused(again, "DigestConflict", barred)

		read(ctx, minted)
		minted.Finalizers = nil
		Expect(cp.Client.Update(ctx, minted)).To(Succeed())
		other.reconcile(ctx, again)
		Expect(condition(again, "Ready")).To(Equal("True/Ready"))
	})

	It("stays refused for every token that the key had when it was revoked", func(ctx SpecContext) {
		env, other := newEnvironment(ctx), newEnvironment(ctx)
		minted := env.create(ctx)
		first := minted.DeepCopy()
		env.update(ctx, minted, func(k *keysv1alpha1.ApiKey) {
			k.Annotations = map[string]string{keysv1alpha1.RotateAtAnnotation: "now"}
		})
		Expect(minted.Status.Credentials).To(HaveLen(2))
		env.update(ctx, minted, revoke)
		expectRefused(other.create(ctx, registering("again", first)), "DigestConflict", barred)
	})
})

var _ = Describe("A digest that another tenant has registered", func() {
	It("and revoked is refused to that tenant only", func(ctx SpecContext) {
		const digest = "2f26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
		register := func(name string) func(*keysv1alpha1.ApiKey) {
			return func(k *keysv1alpha1.ApiKey) {
				k.Name = name
				k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: digest, Prefix: "nxc_live_7Hk2PqZx"}
			}
		}
		env, squatter := newEnvironment(ctx), newEnvironment(ctx)
		first := squatter.create(ctx, register("a"))
		key := env.create(ctx, register("a"))
		squatter.update(ctx, first, revoke)
		env.reconcile(ctx, key)
		Expect(condition(key, "Ready")).To(Equal("True/Ready"))
		again, squatted := env.create(ctx, register("b")), squatter.create(ctx, register("b"))
		Expect(condition(again, "Ready")).To(Equal("False/DigestConflict"), "another key of its own tenant has it")
		Expect(condition(squatted, "Ready")).To(Equal("False/DigestConflict"), "a revoked digest can't be registered again")
	})
})

// rivals are two namespaces of a tenant, with a controller that runs as in production: it reconciles what its watches
// find.
type rivals struct {
	*environment
	another *corev1.Namespace
	label   string
}

func newRivals(ctx context.Context) *rivals {
	GinkgoHelper()
	env := newEnvironment(ctx)
	another := fixture.Namespace(fixture.Name("ns"), env.tenant.Name)
	r := &rivals{environment: env, another: another, label: fixture.Name("test")}
	Expect(cp.Client.Create(ctx, r.another)).To(Succeed())
	m, err := ctrl.NewManager(cp.Config, ctrl.Options{
		Scheme:     controlplane.Scheme(),
		Metrics:    server.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
		// It does not see the keys of other tests.
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&keysv1alpha1.ApiKey{}: {Label: labels.SelectorFromSet(labels.Set{"test": r.label})},
		}},
		Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
	})
	Expect(err).NotTo(HaveOccurred())
	keys, err := keycache.NewKeys(ctx, m.GetCache())
	Expect(err).NotTo(HaveOccurred())
	tenants, err := keycache.NewTenants(ctx, m.GetCache())
	Expect(err).NotTo(HaveOccurred())
	controller := env.newController(m.GetClient(), func(o *apikey.Options) {
		o.Live, o.Clock, o.Keys, o.Tenants = m.GetAPIReader(), clock.RealClock{}, keys, tenants
	})
	Expect(controller.Register(m, keys)).To(Succeed())
	running, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Start(running) }()
	DeferCleanup(func() {
		stop()
		Eventually(ended).Should(Receive())
	})
	return r
}

// key creates a key that the controller sees.
func (r *rivals) key(
	ctx context.Context, namespace, name string, change ...func(*keysv1alpha1.ApiKey),
) *keysv1alpha1.ApiKey {
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

// It fails when rivals leaves out minted digests: nothing else reconciles the younger key (L1).
var _ = Describe("A key that waits for a minted key's digest", func() {
	DescribeTable("gets it when that key gives it up", func(
		ctx SpecContext, end func(context.Context, *rivals, *keysv1alpha1.ApiKey),
	) {
		r := newRivals(ctx)
		holder := r.key(ctx, r.namespace.Name, "holder")
		eventually(ctx, holder, "Ready", "True/Ready")
		younger := r.key(ctx, r.another.Name, "younger", registering("younger", holder))
		eventually(ctx, younger, "Ready", "False/DigestConflict")
		end(ctx, r, holder)
		eventually(ctx, younger, "Ready", "True/Ready")
	},
		Entry("deleted", func(ctx context.Context, _ *rivals, holder *keysv1alpha1.ApiKey) {
			Expect(cp.Client.Delete(ctx, holder)).To(Succeed())
		}),
		Entry("revoked, and then deleted", func(ctx context.Context, r *rivals, holder *keysv1alpha1.ApiKey) {
			r.change(ctx, holder, revoke)
			eventually(ctx, holder, "Revoked", "True/Revoked")
			Expect(cp.Client.Delete(ctx, holder)).To(Succeed())
		}),
		Entry("moved to another tenant, and then deleted", func(ctx context.Context, r *rivals, holder *keysv1alpha1.ApiKey) {
			read(ctx, r.namespace)
			r.namespace.Labels = newEnvironment(ctx).namespace.Labels
			Expect(cp.Client.Update(ctx, r.namespace)).To(Succeed())
			eventually(ctx, holder, "Ready", "False/TenantChanged")
			Expect(cp.Client.Delete(ctx, holder)).To(Succeed())
		}),
		Entry("deleted with its namespace", func(ctx context.Context, r *rivals, _ *keysv1alpha1.ApiKey) {
			Expect(cp.Client.Delete(ctx, r.namespace)).To(Succeed())
			// kube-controller-manager does this in a cluster. It does not run here.
			Expect(cp.Client.DeleteAllOf(ctx, &keysv1alpha1.ApiKey{}, client.InNamespace(r.namespace.Name))).To(Succeed())
		}),
		Entry("deleted and created again under its name", func(ctx context.Context, r *rivals, holder *keysv1alpha1.ApiKey) {
			Expect(cp.Client.Delete(ctx, holder)).To(Succeed())
			r.key(ctx, r.namespace.Name, "holder")
		}),
		Entry("rotated, at the end of the overlap", func(ctx context.Context, r *rivals, holder *keysv1alpha1.ApiKey) {
			r.change(ctx, holder, func(k *keysv1alpha1.ApiKey) {
				k.Spec.Rotation = &keysv1alpha1.Rotation{Every: "30d", Overlap: "1s"}
				k.Annotations = map[string]string{keysv1alpha1.RotateAtAnnotation: "now"}
			})
		}),
	)

	It("gets it from another that had waited, however many of them there are", func(ctx SpecContext) {
		r := newRivals(ctx)
		holder := r.key(ctx, r.namespace.Name, "holder")
		eventually(ctx, holder, "Ready", "True/Ready")
		a := r.key(ctx, r.another.Name, "a", registering("a", holder))
		eventually(ctx, a, "Ready", "False/DigestConflict")
		b := r.key(ctx, r.another.Name, "b", registering("b", holder))
		c := r.key(ctx, r.namespace.Name, "c", registering("c", holder))
		d := r.key(ctx, r.another.Name, "d", registering("d", holder))
		for _, waiting := range []*keysv1alpha1.ApiKey{b, c, d} {
			eventually(ctx, waiting, "Ready", "False/DigestConflict")
		}

		// heir returns the key that has the digest, once that is one.
		heir := func(but string) (heir *keysv1alpha1.ApiKey) {
			GinkgoHelper()
			Eventually(func() (ready []string) {
				for _, key := range []*keysv1alpha1.ApiKey{a, b, c, d} {
					if err := cp.Client.Get(ctx, client.ObjectKeyFromObject(key), key); err == nil &&
						condition(key, "Ready") == "True/Ready" {
						heir, ready = key, append(ready, key.Name)
					}
				}
				return ready
			}).Should(And(HaveLen(1), Not(ContainElement(but))))
			return heir
		}

		Expect(cp.Client.Delete(ctx, holder)).To(Succeed())
		for last, left := "", 4; left > 0; left-- { // Each gets it from the one before, to the last.
			next := heir(last)
			Expect(cp.Client.Delete(ctx, next)).To(Succeed())
			last = next.Name
		}
	}, SpecTimeout(2*time.Minute))

	It("is reconciled when that key is revoked, whichever tenant's it is", func(ctx SpecContext) {
		r := newRivals(ctx)
		elsewhere := newEnvironment(ctx)
		holder := r.key(ctx, r.namespace.Name, "holder")
		eventually(ctx, holder, "Ready", "True/Ready")
		other := r.key(ctx, elsewhere.namespace.Name, "other", registering("other", holder))
		eventually(ctx, other, "Ready", "True/Ready")
		r.change(ctx, holder, revoke)
		eventually(ctx, other, "Ready", "False/DigestConflict")
		Expect(cp.Client.Delete(ctx, holder)).To(Succeed())
		eventually(ctx, other, "Ready", "True/Ready")
	}, SpecTimeout(time.Minute))
})
