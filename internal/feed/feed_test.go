package feed_test

import (
	"context"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/feed"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

func TestFeed(t *testing.T) {
	need.ControlPlane(t)
	RegisterFailHandler(Fail)
	RunSpecs(t, "Feed")
}

var (
	cp     *controlplane.ControlPlane
	canary = types.NamespacedName{Namespace: controlplane.SystemNamespace, Name: "verifier-canary"}
)

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(30 * time.Second)
	var err error
	cp, err = controlplane.Start(controlplane.Options{})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cp.Stop() })
	Expect(cp.RunKubectl(ctx, "apply", "-k", controlplane.Root()+"/config/rbac")).NotTo(BeEmpty())
	Expect(cp.RunKubectl(ctx, "apply", "-f", controlplane.Root()+"/config/verifier/canary.yaml")).NotTo(BeEmpty())
	Expect(cp.Client.Create(ctx, fixture.Policy("nexuscommerce"))).To(Succeed())
})

// offset is a clock that can be moved while other goroutines read it.
type offset struct {
	mu sync.Mutex
	by time.Duration
}

func (o *offset) now() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Now().Add(o.by)
}

func (o *offset) move(by time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.by += by
}

// verifier is a running feed with the rights of config/rbac.
type verifier struct {
	name  string
	view  *index.View
	feed  *feed.Feed
	clock *offset
	stop  func()

	registry *prometheus.Registry
}

func startVerifier(config *rest.Config, canary types.NamespacedName) *verifier {
	GinkgoHelper()
	return startNamed(config, canary, fixture.Name("verifier"))
}

func startNamed(config *rest.Config, canary types.NamespacedName, name string) *verifier {
	GinkgoHelper()
	v := &verifier{name: name, registry: prometheus.NewRegistry(), view: index.NewView(), clock: &offset{}}
	var err error
	v.feed, err = feed.New(feed.Options{
		Config:       config,
		Canary:       canary,
		Name:         v.name,
		MaxStaleness: time.Minute,
		View:         v.view,
		Log:          GinkgoLogr,
		Clock:        v.clock.now,
		Registry:     v.registry,
	})
	Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer GinkgoRecover()
		defer close(done)
		Expect(v.feed.Start(ctx)).To(Succeed())
	}()
	v.stop = func() {
		cancel()
		<-done
	}
	DeferCleanup(v.stop)
	return v
}

// ask decides the request GET /api/products with a token.
func (v *verifier) ask(tok, tenantID string) verify.Decision {
	now := v.clock.now()
	return verify.Decide(v.view, &verify.Request{
		Authorization: []string{"Bearer " + tok},
		TenantID:      []string{tenantID},
		Host:          fixture.Host,
		Method:        "GET",
		Target:        "/api/products",
	}, v.feed.Freshness(now), now)
}

func (v *verifier) reasonFor(k *issued) func() verify.Reason {
	return func() verify.Reason { return v.ask(k.token, k.tenant.Spec.ID).Reason }
}

// issued is a key with a token, as the controller leaves it.
type issued struct {
	tenant *keysv1alpha1.Tenant
	key    *keysv1alpha1.ApiKey
	token  string
}

func issue(ctx context.Context) *issued {
	GinkgoHelper()
	name := fixture.Name("tenant")
	k := &issued{tenant: fixture.Tenant(name), key: fixture.ApiKey(fixture.Name("ns"), "key")}
	Expect(cp.Client.Create(ctx, k.tenant)).To(Succeed())
	Expect(cp.Client.Create(ctx, fixture.Namespace(k.key.Namespace, name))).To(Succeed())
	Expect(cp.Client.Create(ctx, k.key)).To(Succeed())
	root, err := token.RootFrom([]byte("a root key of 32 bytes for tests"))
	Expect(err).NotTo(HaveOccurred())
	tok, err := token.Derive(root, token.FormatLive, string(k.key.UID), "7Hk2PqZx")
	Expect(err).NotTo(HaveOccurred())
	k.token = tok.Reveal()
	k.key.Status = keysv1alpha1.ApiKeyStatus{
		TenantID:    k.tenant.Spec.ID,
		Scopes:      k.key.Spec.Scopes,
		IssuedTime:  &metav1.Time{Time: time.Now()},
		Credentials: []keysv1alpha1.Credential{{ID: "7Hk2PqZx", Digest: tok.Digest().String(), IssuedTime: metav1.Now()}},
	}
	Expect(cp.Client.Status().Update(ctx, k.key)).To(Succeed())
	return k
}

var _ = Describe("Feeding the index", func() {
	It("allows a key once it is granted, and refuses it as soon as it is revoked", func(ctx SpecContext) {
		v := startVerifier(cp.ServiceAccountConfig("apikey-verifier"), canary)
		Eventually(v.feed.Ready).Should(Succeed())
		k := issue(ctx)
		Eventually(v.reasonFor(k)).Should(Equal(verify.ReasonAllowed))

		k.key.Spec.State = keysv1alpha1.ApiKeyRevoked
		Expect(cp.Client.Update(ctx, k.key)).To(Succeed())
		Eventually(v.reasonFor(k)).Should(Equal(verify.ReasonRevoked))
	})

	It("enforces restrictions in spec without the controller", func(ctx SpecContext) {
		v := startVerifier(cp.ServiceAccountConfig("apikey-verifier"), canary)
		Eventually(v.feed.Ready).Should(Succeed())
		for reason, change := range map[verify.Reason]func(*issued) error{
			verify.ReasonSuspended: func(k *issued) error {
				k.key.Spec.State = keysv1alpha1.ApiKeySuspended
				return cp.Client.Update(ctx, k.key)
			},
			verify.ReasonScopeMissing: func(k *issued) error {
				k.key.Spec.Scopes = []keysv1alpha1.Scope{"orders:read"}
				return cp.Client.Update(ctx, k.key)
			},
			verify.ReasonAddressNotAllowed: func(k *issued) error {
				k.key.Spec.AllowedCIDRs = []keysv1alpha1.CIDR{"203.0.113.0/24"}
				return cp.Client.Update(ctx, k.key)
			},
			verify.ReasonExpired:      func(k *issued) error { k.key.Spec.Expiry = "1s"; return cp.Client.Update(ctx, k.key) },
			verify.ReasonUnknownToken: func(k *issued) error { return cp.Client.Delete(ctx, k.key) },
			verify.ReasonTenantSuspended: func(k *issued) error {
				k.tenant.Spec.State = keysv1alpha1.TenantSuspended
				return cp.Client.Update(ctx, k.tenant)
			},
			verify.ReasonTenantChanged: func(k *issued) error { return cp.Client.Delete(ctx, k.tenant) },
		} {
			k := issue(ctx)
			Eventually(v.reasonFor(k)).Should(Equal(verify.ReasonAllowed), string(reason))
			Expect(change(k)).To(Succeed(), string(reason))
			Eventually(v.reasonFor(k)).Should(Equal(reason))
		}
	})

	It("does not accept the token of a deleted key for a new one of the same name (S9)", func(ctx SpecContext) {
		v := startVerifier(cp.ServiceAccountConfig("apikey-verifier"), canary)
		Eventually(v.feed.Ready).Should(Succeed())
		k := issue(ctx)
		Eventually(v.reasonFor(k)).Should(Equal(verify.ReasonAllowed))
		Expect(cp.Client.Delete(ctx, k.key)).To(Succeed())
		Expect(cp.Client.Create(ctx, fixture.ApiKey(k.key.Namespace, k.key.Name))).To(Succeed())
		Eventually(v.reasonFor(k)).Should(Equal(verify.ReasonUnknownToken))
	})
})

var _ = Describe("Freshness (S7)", func() {
	It("is not proved before the first list is complete, and nothing is allowed", func(ctx SpecContext) {
		k := issue(ctx)
		api := newGate(cp.Config)
		api.stall()
		v := startVerifier(api.through(cp.ServiceAccountConfig("apikey-verifier")), canary)
		Consistently(v.reasonFor(k)).WithTimeout(500 * time.Millisecond).Should(Equal(verify.ReasonUnavailable))
		Expect(v.feed.Ready()).To(MatchError(ContainSubstring("not complete")))
		api.resume()
		Eventually(v.reasonFor(k)).Should(Equal(verify.ReasonAllowed))
		Expect(v.feed.Ready()).To(Succeed())
	})

	It("is not proved without the canary, and nothing is allowed", func(ctx SpecContext) {
		// The index is complete, but it is unknown how current it is. It fails if freshness.update leaves out the stream of
		// ApiKeys, or if freshness.at accepts a zero time.
		k := issue(ctx)
		v := startVerifier(cp.ServiceAccountConfig("apikey-verifier"),
			types.NamespacedName{Namespace: canary.Namespace, Name: "no-canary"})
		Eventually(v.feed.Ready).Should(MatchError(ContainSubstring("probe has not come back")))
		Consistently(v.reasonFor(k)).WithTimeout(500 * time.Millisecond).Should(Equal(verify.ReasonUnavailable))
	})

	It("ends when the API server stops responding, and returns when it responds again", func(ctx SpecContext) {
		// It fails if verify.Decide ignores freshness, or freshness.at ignores the bound.
		k := issue(ctx)
		api := newGate(cp.Config)
		v := startVerifier(api.through(cp.ServiceAccountConfig("apikey-verifier")), canary)
		Eventually(v.reasonFor(k)).Should(Equal(verify.ReasonAllowed))
		proven := v.feed.FreshAsOf()

		api.stall() // Connections stay open, but nothing sent on them arrives.
		k.key.Spec.State = keysv1alpha1.ApiKeyRevoked
		Expect(cp.Client.Update(ctx, k.key)).To(Succeed())
		Expect(v.ask(k.token, k.tenant.Spec.ID).Outcome).To(Equal(verify.Allow), "it can't know yet, and is within its bound")
		v.clock.move(2 * time.Minute)
		Expect(v.ask(k.token, k.tenant.Spec.ID).Reason).To(Equal(verify.ReasonUnavailable))
		Expect(v.feed.Ready()).To(MatchError(ContainSubstring("more than 1m0s")))

		api.resume()
		Eventually(v.reasonFor(k)).Should(Equal(verify.ReasonRevoked))
		Eventually(v.feed.Ready).Should(Succeed())
		Expect(v.feed.FreshAsOf()).To(BeTemporally(">", proven))
	})

	It("is proved again and again", func(SpecContext) {
		v := startVerifier(cp.ServiceAccountConfig("apikey-verifier"), canary)
		Eventually(v.feed.Ready).Should(Succeed())
		first := v.feed.FreshAsOf()
		Eventually(v.feed.FreshAsOf).Should(BeTemporally(">", first))
	})

	It("ends with the verifier, which signs off on the canary", func(ctx SpecContext) {
		v := startVerifier(cp.ServiceAccountConfig("apikey-verifier"), canary)
		Eventually(v.feed.Ready).Should(Succeed())
		v.stop()
		Expect(recordOf(ctx, v.name).SignedOff).To(BeTrue())
		Expect(v.feed.Freshness(v.clock.now())).To(Equal(verify.Stale))
		Expect(v.feed.Ready()).To(MatchError(ContainSubstring("signed off")))
	})
})
