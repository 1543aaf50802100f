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

// bound is the maxStaleness of the verifiers that a test stands for.
const bound = 5 * time.Minute

var _ = Describe("The canary", func() {
	var (
		env    *environment
		key    *keysv1alpha1.ApiKey
		canary *canaryObject
	)
	// There are two verifiers. The controller has seen and recorded them, and has sealed the canary.
	BeforeEach(func(ctx SpecContext) {
		env = newEnvironment(ctx)
		key = env.create(ctx)
		canary = newCanary(ctx)
		canary.says(ctx, "live", "1")
		canary.says(ctx, "partitioned", "1")
		env.reconcile(ctx, canary.key)
		Expect(canary.key.Annotations).To(HaveKeyWithValue(keysv1alpha1.SealAnnotation, string(canary.key.UID)))
	})
	revokeKey := func(ctx context.Context) {
		GinkgoHelper()
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		env.clock.SetTime(env.clock.Now().Add(promptly))
	}
	restart := func(context.Context) { env.controller = env.newController(env.client) }
	// effectiveOnlyAfter expects that the revocation becomes effective after a time, and not before.
	effectiveOnlyAfter := func(ctx context.Context, length time.Duration) {
		GinkgoHelper()
		began := env.clock.Now()
		for _, passed := range []time.Duration{0, length - time.Second, length + time.Second} {
			env.clock.SetTime(began.Add(passed))
			canary.says(ctx, "live", key.ResourceVersion)
			env.reconcile(ctx, canary.key)
			env.reconcile(ctx, key)
			want := "False/WaitingForVerifiers"
			if passed > length {
				want = "True/Revoked"
			}
			Expect(condition(key, "RevocationEffective")).To(Equal(want), passed.String())
		}
	}

	DescribeTable("keeps the controller waiting for a verifier whose probe was removed (S1)",
		func(ctx SpecContext, remove ...func(context.Context)) {
			for _, do := range remove {
				do(ctx)
			}
			revokeKey(ctx)
			effectiveOnlyAfter(ctx, bound)
		},
		Entry("with its annotation", func(ctx context.Context) { canary.loses(ctx, "partitioned") }),
		Entry("with all annotations", func(ctx context.Context) { canary.replaced(ctx) }),
		Entry("with the object", func(ctx context.Context) { canary.recreated(ctx) }),
		Entry("with its annotation, before the controller starts", func(ctx context.Context) {
			canary.loses(ctx, "partitioned")
			restart(ctx)
		}),
		Entry("with all annotations, before the controller starts", func(ctx context.Context) {
			canary.replaced(ctx)
			restart(ctx)
		}),
		Entry("with the object, before the controller starts", func(ctx context.Context) {
			canary.recreated(ctx)
			restart(ctx)
		}),
		Entry("again and again", func(ctx context.Context) {
			canary.replaced(ctx)
			canary.recreated(ctx)
			canary.replaced(ctx)
		}),
		Entry("with all annotations but the seal", func(ctx context.Context) {
			canary.replaced(ctx)
			canary.change(ctx, func(annotations map[string]string) {
				annotations[keysv1alpha1.SealAnnotation] = string(canary.key.UID)
			})
		}),
		Entry("by another verifier of its name", func(ctx context.Context) {
			canary.says(ctx, "partitioned", "999999999", func(r *probe.Record) { r.Instance = "another" })
		}),
		Entry("by another verifier of its name, before the controller starts", func(ctx context.Context) {
			canary.says(ctx, "partitioned", "999999999", func(r *probe.Record) { r.Instance = "another" })
			restart(ctx)
		}),
	)

	It("delays a revocation for verifiers that the controller never saw, if it was replaced (S1)", func(ctx SpecContext) {
		// It fails when Roster.detectReplacement ignores the seal.
		canary.says(ctx, "unseen", "1") // The controller never sees it.
		canary.replaced(ctx)
		restart(ctx)
		canary.signsOff(ctx, "partitioned")
		revokeKey(ctx)
		effectiveOnlyAfter(ctx, bound)
		Expect(canary.key.Annotations).NotTo(HaveKey(probe.Annotation("partitioned")))
	})

	It("delays keys only until all verifiers have or could have reported, if it was replaced (S8)", func(ctx SpecContext) {
		canary.recreated(ctx)
		minted := env.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Name = "minted" })
		Expect(condition(minted, "Ready")).To(Equal("Unknown/Announced"))
		canary.says(ctx, "live", minted.ResourceVersion)
		canary.says(ctx, "partitioned", minted.ResourceVersion)
		env.clock.SetTime(env.clock.Now().Add(10 * time.Second)) // Another verifier would have reported by then.
		env.reconcile(ctx, minted)
		Expect(condition(minted, "Ready")).To(Equal("Unknown/Announced"))
		env.clock.SetTime(env.clock.Now().Add(time.Second))
		env.reconcile(ctx, minted)
		expectReady(ctx, minted)
	})

	DescribeTable("does not make the controller wait for a verifier that has signed off",
		func(ctx SpecContext, leave ...func(context.Context)) {
			for _, do := range leave {
				do(ctx)
			}
			revokeKey(ctx)
			canary.says(ctx, "live", key.ResourceVersion)
			env.reconcile(ctx, key)
			Expect(condition(key, "RevocationEffective")).To(Equal("True/Revoked"))
			env.reconcile(ctx, canary.key)
			Expect(canary.key.Annotations).To(HaveKey(probe.Annotation("live")))
			Expect(canary.key.Annotations).NotTo(HaveKey(probe.Annotation("partitioned")))
		},
		Entry("by itself", func(ctx context.Context) { canary.signsOff(ctx, "partitioned") }),
		Entry("by itself, before the controller starts", func(ctx context.Context) {
			canary.signsOff(ctx, "partitioned")
			restart(ctx)
		}),
		Entry("because an administrator says so", func(ctx context.Context) {
			canary.change(ctx, func(annotations map[string]string) {
				annotations[probe.Annotation("partitioned")] = probe.Gone
			})
		}),
	)

	It("has its verifiers recorded for the next process, by one write for each change", func(ctx SpecContext) {
		registry := func() (string, string) {
			lease := registryLease(ctx)
			return lease.Annotations[rollout.RegistryAnnotation], lease.ResourceVersion
		}
		content, before := registry()
		Expect(content).To(Equal(`{"verifiers":[{"name":"live","maxStaleness":"5m0s"},` +
			`{"name":"partitioned","maxStaleness":"5m0s"}],"longest":"5m0s"}`))
		for _, applied := range []string{"2", "3", "4"} {
			env.clock.SetTime(env.clock.Now().Add(time.Minute))
			canary.says(ctx, "live", applied)
			canary.says(ctx, "partitioned", applied)
			env.reconcile(ctx, canary.key)
		}
		_, after := registry()
		Expect(after).To(Equal(before))
		canary.signsOff(ctx, "partitioned")
		env.reconcile(ctx, canary.key)
		content, _ = registry()
		Expect(content).To(Equal(`{"verifiers":[{"name":"live","maxStaleness":"5m0s"}],"longest":"5m0s"}`))
	})

	It("delays a revocation for the longest bound if the record of its verifiers is spoilt", func(ctx SpecContext) {
		lease := registryLease(ctx)
		lease.Annotations[rollout.RegistryAnnotation] = "{"
		Expect(cp.Client.Update(ctx, lease)).To(Succeed())
		canary.replaced(ctx)
		restart(ctx)
		revokeKey(ctx)
		effectiveOnlyAfter(ctx, time.Hour)
	})

	It("loses the probes of departed verifiers, and nothing else", func(ctx SpecContext) {
		// It fails when Roster.Closed ignores the bound, or when prunePatch leaves out the test operations.
		canary.change(ctx, func(annotations map[string]string) { annotations["example.com/note"] = "kept" })
		env.reconcile(ctx, canary.key)
		Expect(canary.key.Annotations).To(HaveLen(4), "nobody has been silent for long")
		env.clock.SetTime(env.clock.Now().Add(bound + time.Second))
		canary.says(ctx, "live", "2")
		overtaken := canary.key.DeepCopy()
		canary.says(ctx, "partitioned", "2")
		Expect(env.controller.Reconcile(ctx, overtaken)).Error().NotTo(HaveOccurred())
		read(ctx, canary.key)
		Expect(canary.key.Annotations).To(HaveLen(4), "the verifier has reported since")

		env.reconcile(ctx, canary.key)
		env.clock.SetTime(env.clock.Now().Add(bound + time.Second))
		canary.says(ctx, "live", "3")
		env.reconcile(ctx, canary.key)
		Expect(canary.key.Annotations).To(And(HaveLen(3), HaveKey(probe.Annotation("live")), HaveKey("example.com/note")))
	})
})

// promptly is how soon verifiers are expected to report: until then nothing is written of a revocation.
const promptly = 250 * time.Millisecond

// canaryObject is the canary, on which a test writes the probes of verifiers.
type canaryObject struct{ key *keysv1alpha1.ApiKey }

// registryLease returns the Lease in which the controller records the verifiers.
func registryLease(ctx context.Context) *coordinationv1.Lease {
	GinkgoHelper()
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: controlplane.SystemNamespace, Name: rollout.RegistryName},
	}
	read(ctx, lease)
	return lease
}

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

// gone deletes the canary.
func (c *canaryObject) gone(ctx context.Context) {
	GinkgoHelper()
	Expect(client.IgnoreNotFound(cp.Client.Delete(ctx, c.key))).To(Succeed())
}

// change changes the canary's annotations.
func (c *canaryObject) change(ctx context.Context, change func(annotations map[string]string)) {
	GinkgoHelper()
	read(ctx, c.key)
	if c.key.Annotations == nil {
		c.key.Annotations = map[string]string{}
	}
	change(c.key.Annotations)
	Expect(cp.Client.Update(ctx, c.key)).To(Succeed())
}

// says writes a verifier's probe.
func (c *canaryObject) says(ctx context.Context, verifier, applied string, change ...func(*probe.Record)) {
	GinkgoHelper()
	record := probe.Record{Nonce: applied, Applied: applied, MaxStaleness: metav1.Duration{Duration: bound}}
	for _, c := range change {
		c(&record)
	}
	c.change(ctx, func(annotations map[string]string) { annotations[probe.Annotation(verifier)] = record.String() })
}

// signsOff writes the last probe of a verifier that stops.
func (c *canaryObject) signsOff(ctx context.Context, verifier string) {
	GinkgoHelper()
	c.says(ctx, verifier, "1", func(r *probe.Record) { r.SignedOff = true })
}

// loses removes a verifier's probe.
func (c *canaryObject) loses(ctx context.Context, verifier string) {
	GinkgoHelper()
	c.change(ctx, func(annotations map[string]string) { delete(annotations, probe.Annotation(verifier)) })
}

// replaced does what kubectl replace does.
func (c *canaryObject) replaced(ctx context.Context) {
	GinkgoHelper()
	c.change(ctx, func(annotations map[string]string) { clear(annotations) })
}

// recreated does what kubectl replace --force does.
func (c *canaryObject) recreated(ctx context.Context) {
	GinkgoHelper()
	c.gone(ctx)
	c.create(ctx)
}
