package apikey_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/rollout"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// bound is that of the verifiers that a test speaks for.
const bound = 5 * time.Minute

var _ = Describe("The canary", func() {
	var (
		w      *world
		key    *keysv1alpha1.ApiKey
		canary *canaryObject
	)
	// There are two verifiers. The controller has seen them and what it keeps of them, and has sealed the canary.
	BeforeEach(func(ctx SpecContext) {
		w = newWorld(ctx)
		key = w.create(ctx)
		canary = newCanary(ctx)
		canary.says(ctx, "live", "1")
		canary.says(ctx, "partitioned", "1")
		w.reconcile(ctx, canary.key)
		Expect(canary.key.Annotations).To(HaveKeyWithValue(keysv1alpha1.SealAnnotation, string(canary.key.UID)))
	})
	revoke := func(ctx context.Context) {
		GinkgoHelper()
		w.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		w.clock.SetTime(w.clock.Now().Add(promptly))
	}
	restart := func(context.Context) { w.controller = w.newController(w.client) }
	// effectiveOnlyAfter expects that the revocation is effective once a time has passed, and not before.
	effectiveOnlyAfter := func(ctx context.Context, length time.Duration) {
		GinkgoHelper()
		began := w.clock.Now()
		for _, passed := range []time.Duration{0, length - time.Second, length + time.Second} {
			w.clock.SetTime(began.Add(passed))
			canary.says(ctx, "live", key.ResourceVersion)
			w.reconcile(ctx, canary.key)
			w.reconcile(ctx, key)
			want := "False/WaitingForVerifiers"
			if passed > length {
				want = "True/Revoked"
			}
			Expect(condition(key, "RevocationEffective")).To(Equal(want), passed.String())
		}
	}

	DescribeTable("has nobody forgotten whom somebody takes off it (S1)",
		func(ctx SpecContext, takeOff ...func(context.Context)) {
			for _, do := range takeOff {
				do(ctx)
			}
			revoke(ctx)
			effectiveOnlyAfter(ctx, bound)
		},
		Entry("by an annotation", func(ctx context.Context) { canary.loses(ctx, "partitioned") }),
		Entry("by all annotations", func(ctx context.Context) { canary.replaced(ctx) }),
		Entry("by another object", func(ctx context.Context) { canary.recreated(ctx) }),
		Entry("by an annotation, before the controller starts", func(ctx context.Context) { canary.loses(ctx, "partitioned"); restart(ctx) }),
		Entry("by all annotations, before the controller starts", func(ctx context.Context) { canary.replaced(ctx); restart(ctx) }),
		Entry("by another object, before the controller starts", func(ctx context.Context) { canary.recreated(ctx); restart(ctx) }),
		Entry("again and again", func(ctx context.Context) { canary.replaced(ctx); canary.recreated(ctx); canary.replaced(ctx) }),
		Entry("with the object's seal left", func(ctx context.Context) {
			canary.replaced(ctx)
			canary.change(ctx, func(annotations map[string]string) { annotations[keysv1alpha1.SealAnnotation] = string(canary.key.UID) })
		}),
		Entry("where another takes its place", func(ctx context.Context) {
			canary.says(ctx, "partitioned", "999999999", func(r *probe.Record) { r.Instance = "another" })
		}),
		Entry("where another takes its place, before the controller starts", func(ctx context.Context) {
			canary.says(ctx, "partitioned", "999999999", func(r *probe.Record) { r.Instance = "another" })
			restart(ctx)
		}),
	)

	It("that was replaced may have lost one that nobody here has seen (S1)", func(ctx SpecContext) {
		// It fails when Roster.look does not look at the seal.
		canary.says(ctx, "unseen", "1") // The controller isn't told.
		canary.replaced(ctx)
		restart(ctx)
		canary.signsOff(ctx, "partitioned")
		revoke(ctx)
		effectiveOnlyAfter(ctx, bound)
		Expect(canary.key.Annotations).NotTo(HaveKey(probe.Annotation("partitioned")))
	})

	It("has keys minted where it was replaced, once those who are known speak up, and others could have (S8)", func(ctx SpecContext) {
		canary.recreated(ctx)
		minted := w.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Name = "minted" })
		Expect(condition(minted, "Ready")).To(Equal("Unknown/Announced"))
		canary.says(ctx, "live", minted.ResourceVersion)
		canary.says(ctx, "partitioned", minted.ResourceVersion)
		w.clock.SetTime(w.clock.Now().Add(10 * time.Second)) // Another one would have spoken up by then.
		w.reconcile(ctx, minted)
		Expect(condition(minted, "Ready")).To(Equal("Unknown/Announced"))
		w.clock.SetTime(w.clock.Now().Add(time.Second))
		w.reconcile(ctx, minted)
		expectReady(ctx, minted)
	})

	DescribeTable("has nobody waited for who has signed off",
		func(ctx SpecContext, leave ...func(context.Context)) {
			for _, do := range leave {
				do(ctx)
			}
			revoke(ctx)
			canary.says(ctx, "live", key.ResourceVersion)
			w.reconcile(ctx, key)
			Expect(condition(key, "RevocationEffective")).To(Equal("True/Revoked"))
			w.reconcile(ctx, canary.key)
			Expect(canary.key.Annotations).To(And(HaveKey(probe.Annotation("live")), Not(HaveKey(probe.Annotation("partitioned")))))
		},
		Entry("by itself", func(ctx context.Context) { canary.signsOff(ctx, "partitioned") }),
		Entry("by itself, before the controller starts", func(ctx context.Context) { canary.signsOff(ctx, "partitioned"); restart(ctx) }),
		Entry("by an administrator's word", func(ctx context.Context) {
			canary.change(ctx, func(annotations map[string]string) { annotations[probe.Annotation("partitioned")] = probe.Gone })
		}),
	)

	It("says who the verifiers are to whoever comes after, with a write for each that comes or goes", func(ctx SpecContext) {
		registry := func() (string, string) {
			lease := &coordinationv1.Lease{}
			Expect(cp.Client.Get(ctx, client.ObjectKey{Namespace: controlplane.SystemNamespace, Name: rollout.RegistryName}, lease)).To(Succeed())
			return lease.Annotations[rollout.RegistryAnnotation], lease.ResourceVersion
		}
		content, before := registry()
		Expect(content).To(Equal(`{"verifiers":[{"name":"live","maxStaleness":"5m0s"},{"name":"partitioned","maxStaleness":"5m0s"}],"longest":"5m0s"}`))
		for _, applied := range []string{"2", "3", "4"} {
			w.clock.SetTime(w.clock.Now().Add(time.Minute))
			canary.says(ctx, "live", applied)
			canary.says(ctx, "partitioned", applied)
			w.reconcile(ctx, canary.key)
		}
		_, after := registry()
		Expect(after).To(Equal(before))
		canary.signsOff(ctx, "partitioned")
		w.reconcile(ctx, canary.key)
		content, _ = registry()
		Expect(content).To(Equal(`{"verifiers":[{"name":"live","maxStaleness":"5m0s"}],"longest":"5m0s"}`))
	})

	It("does without the registry's content where somebody has spoilt it", func(ctx SpecContext) {
		lease := &coordinationv1.Lease{}
		Expect(cp.Client.Get(ctx, client.ObjectKey{Namespace: controlplane.SystemNamespace, Name: rollout.RegistryName}, lease)).To(Succeed())
		lease.Annotations[rollout.RegistryAnnotation] = "{"
		Expect(cp.Client.Update(ctx, lease)).To(Succeed())
		canary.replaced(ctx)
		restart(ctx)
		revoke(ctx)
		effectiveOnlyAfter(ctx, time.Hour)
	})

	It("loses what departed verifiers have said, and nothing else", func(ctx SpecContext) {
		// It fails when Roster.Closed doesn't look at the bound, or prunePatch leaves the test operations out.
		canary.change(ctx, func(annotations map[string]string) { annotations["example.com/note"] = "kept" })
		w.reconcile(ctx, canary.key)
		Expect(canary.key.Annotations).To(HaveLen(4), "nobody has been silent for long")
		w.clock.SetTime(w.clock.Now().Add(bound + time.Second))
		canary.says(ctx, "live", "2")
		overtaken := canary.key.DeepCopy()
		canary.says(ctx, "partitioned", "2")
		Expect(w.controller.Reconcile(ctx, overtaken)).Error().NotTo(HaveOccurred())
		read(ctx, canary.key)
		Expect(canary.key.Annotations).To(HaveLen(4), "it has spoken up since")

		w.reconcile(ctx, canary.key)
		w.clock.SetTime(w.clock.Now().Add(bound + time.Second))
		canary.says(ctx, "live", "3")
		w.reconcile(ctx, canary.key)
		Expect(canary.key.Annotations).To(And(HaveLen(3), HaveKey(probe.Annotation("live")), HaveKey("example.com/note")))
	})
})

// promptly is how soon verifiers are expected to speak up: until then nothing is written of a revocation.
const promptly = 250 * time.Millisecond

// canaryObject is the canary, on which a test speaks for verifiers.
type canaryObject struct{ key *keysv1alpha1.ApiKey }

func newCanary(ctx context.Context) *canaryObject {
	GinkgoHelper()
	c := &canaryObject{}
	c.create(ctx)
	DeferCleanup(c.gone)
	return c
}

func (c *canaryObject) create(ctx context.Context) {
	GinkgoHelper()
	c.key = &keysv1alpha1.ApiKey{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: controlplane.SystemNamespace,
			Name:      keysv1alpha1.CanaryName,
			Labels:    map[string]string{keysv1alpha1.CanaryLabel: "true"},
		},
		Spec: keysv1alpha1.ApiKeySpec{Scopes: []keysv1alpha1.Scope{"canary:none"}, State: keysv1alpha1.ApiKeySuspended},
	}
	Expect(cp.Client.Create(ctx, c.key)).To(Succeed())
}

func (c *canaryObject) gone(ctx context.Context) {
	GinkgoHelper()
	Expect(client.IgnoreNotFound(cp.Client.Delete(ctx, c.key))).To(Succeed())
}

// change changes its annotations.
func (c *canaryObject) change(ctx context.Context, change func(annotations map[string]string)) {
	GinkgoHelper()
	read(ctx, c.key)
	if c.key.Annotations == nil {
		c.key.Annotations = map[string]string{}
	}
	change(c.key.Annotations)
	Expect(cp.Client.Update(ctx, c.key)).To(Succeed())
}

func (c *canaryObject) says(ctx context.Context, verifier, applied string, change ...func(*probe.Record)) {
	GinkgoHelper()
	record := probe.Record{Nonce: applied, Applied: applied, MaxStaleness: metav1.Duration{Duration: bound}}
	for _, c := range change {
		c(&record)
	}
	c.change(ctx, func(annotations map[string]string) { annotations[probe.Annotation(verifier)] = record.String() })
}

func (c *canaryObject) signsOff(ctx context.Context, verifier string) {
	GinkgoHelper()
	c.says(ctx, verifier, "1", func(r *probe.Record) { r.SignedOff = true })
}

func (c *canaryObject) loses(ctx context.Context, verifier string) {
	GinkgoHelper()
	c.change(ctx, func(annotations map[string]string) { delete(annotations, probe.Annotation(verifier)) })
}

// replaced is what kubectl replace does.
func (c *canaryObject) replaced(ctx context.Context) {
	GinkgoHelper()
	c.change(ctx, func(annotations map[string]string) { clear(annotations) })
}

// recreated is what kubectl replace --force does.
func (c *canaryObject) recreated(ctx context.Context) {
	GinkgoHelper()
	c.gone(ctx)
	c.create(ctx)
}
