package apikey_test

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/released"
)

func rotating(every, overlap keysv1alpha1.Period) func(*keysv1alpha1.ApiKey) {
	return func(k *keysv1alpha1.ApiKey) {
		k.Spec.Rotation = &keysv1alpha1.Rotation{Every: every, Overlap: overlap}
	}
}

func requestRotation(value string) func(*keysv1alpha1.ApiKey) {
	return func(k *keysv1alpha1.ApiKey) {
		k.Annotations = map[string]string{keysv1alpha1.RotateAtAnnotation: value}
	}
}

var _ = Describe("Rotating", func() {
	It("replaces the token on schedule, and the old one stays valid for the overlap", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx, rotating("30d", "2d"))
		expectReady(ctx, key)
		first := key.Status.Credentials[0]
		Expect(key.Status.NextRotationTime.Time).To(Equal(first.IssuedTime.AddDate(0, 0, 30)))

		env.clock.SetTime(first.IssuedTime.AddDate(0, 0, 30).Add(-time.Second))
		result := env.reconcile(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(1))
		Expect(result.RequeueAfter).To(BeNumerically("~", time.Second, time.Second))

		env.clock.SetTime(first.IssuedTime.AddDate(0, 0, 30))
		env.reconcile(ctx, key)
		expectReady(ctx, key)
		Expect(condition(key, "Published")).To(Equal("True/Rotated"))
		Expect(key.Status.Credentials).To(HaveLen(2))
		old, rotated := key.Status.Credentials[0], key.Status.Credentials[1]
		Expect(old.Digest).To(Equal(first.Digest))
		Expect(old.ValidUntil.Time).To(Equal(rotated.PublishedTime.AddDate(0, 0, 2)))
		Expect(rotated.Digest).NotTo(Equal(first.Digest))
		Expect(rotated.ValidUntil).To(BeNil())
		Expect(key.Status.Prefix).To(HaveSuffix(rotated.ID))
		Expect(key.Status.NextRotationTime.Time).To(Equal(rotated.IssuedTime.AddDate(0, 0, 30)))
		Expect(env.events.Events).To(Receive(HavePrefix("Normal Issued ")))
		Expect(env.events.Events).To(Receive(HavePrefix("Normal Rotated ")))

		env.clock.SetTime(old.ValidUntil.Time)
		env.reconcile(ctx, key)
		expectReady(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(1))
		Expect(key.Status.Credentials[0].Digest).To(Equal(rotated.Digest))
		env.client.writes = 0
		env.reconcile(ctx, key)
		Expect(env.client.writes).To(BeZero())
		Expect(env.events.Events).NotTo(Receive())
	})

	It("replaces the token once for every new value of the annotation", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx, requestRotation("made with the object"))
		expectReady(ctx, key)
		first := key.Status.Credentials[0].Digest
		env.reconcile(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(1), "a key that is created with the annotation does not ask for a rotation")

		env.update(ctx, key, requestRotation("2026-11-23"))
		expectReady(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(2))
		Expect(key.Status.Credentials[0].Digest).To(Equal(first))
		old, rotated := key.Status.Credentials[0], key.Status.Credentials[1]
		Expect(old.ValidUntil.Time).To(Equal(rotated.PublishedTime.Add(24 * time.Hour)))
		Expect(key.Status.LastHandledRotateAt).To(Equal("2026-11-23"))
		env.reconcile(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(2))

		By("asking again during the overlap, which waits because at most two tokens are valid at a time")
		second := key.Status.Credentials[1].Digest
		env.update(ctx, key, requestRotation(strings.Repeat("long", 100)))
		expectReady(ctx, key)
		Expect(key.Status.Credentials[1].Digest).To(Equal(second))
		env.clock.SetTime(key.Status.Credentials[0].ValidUntil.Time)
		env.reconcile(ctx, key)
		expectReady(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(2))
		Expect(key.Status.Credentials[0].Digest).To(Equal(second))
		env.reconcile(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(2))
	})

	It("rotates at most once an hour a key with a shorter period from before there was a rule", func(ctx SpecContext) {
		// It fails when rotationPeriod returns the period in spec.
		env := newEnvironment(ctx)
		key := env.create(ctx)
		Expect(released.Under(ctx, cp.Client, "apikeys", func() error {
			rotating("2s", "1s")(key)
			return cp.Client.Update(ctx, key)
		})).To(Succeed())
		env.clock.SetTime(env.clock.Now().Add(time.Minute))
		env.reconcile(ctx, key)
		expectReady(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(1))
		Expect(key.Status.NextRotationTime.Time).To(Equal(key.Status.Credentials[0].IssuedTime.Add(time.Hour)))
		env.clock.SetTime(key.Status.NextRotationTime.Time)
		env.reconcile(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(2))
		old, rotated := key.Status.Credentials[0], key.Status.Credentials[1]
		Expect(old.ValidUntil.Time).To(Equal(rotated.PublishedTime.Add(time.Second)))
	})

	It("keeps the key's expiry", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		expires := key.Status.ExpiresTime
		env.clock.SetTime(env.clock.Now().AddDate(0, 0, 10))
		env.update(ctx, key, requestRotation("1"))
		Expect(key.Status.ExpiresTime).To(Equal(expires))
	})

	It("issues an expired key again on request, with another token", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		first := key.Status.Credentials[0]
		env.clock.SetTime(key.Status.ExpiresTime.Time)
		env.reconcile(ctx, key)
		expectAtRest(key, "Expired")

		env.update(ctx, key, requestRotation("again"))
		expectReady(ctx, key)
		Expect(condition(key, "Expired")).To(Equal("False/NotExpired"))
		Expect(key.Status.Credentials).To(HaveLen(1))
		Expect(key.Status.Credentials[0].ID).NotTo(Equal(first.ID))
		Expect(key.Status.IssuedTime.Time).To(BeTemporally("~", env.clock.Now(), time.Second))
		Expect(key.Status.ExpiresTime.Time).To(Equal(key.Status.IssuedTime.AddDate(0, 0, 90)))
		Expect(key.Status.LastHandledRotateAt).To(Equal("again"))
	})

	It("does not issue an expired key again for a rotation that was requested before it expired", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		env.update(ctx, key, requestRotation("1"))
		env.update(ctx, key, requestRotation("2")) // It waits for the end of the overlap, and the key expires first.
		env.clock.SetTime(key.Status.ExpiresTime.Time)
		for range 2 {
			env.reconcile(ctx, key)
			expectAtRest(key, "Expired")
		}
	})

	It("takes a new place in the ledger for an expired key", func(ctx SpecContext) {
		one := int32(1)
		env := newEnvironment(ctx, func(t *keysv1alpha1.Tenant) { t.Spec.MaxKeys = &one })
		key := env.create(ctx)
		env.clock.SetTime(key.Status.ExpiresTime.Time)
		env.reconcile(ctx, key)
		read(ctx, env.tenant)
		env.tenant.Status.ActiveKeys = nil // The tenant controller does this.
		Expect(cp.Client.Status().Update(ctx, env.tenant)).To(Succeed())
		expectReady(ctx, env.create(ctx))
		env.update(ctx, key, requestRotation("again"))
		expectRefused(key, "QuotaExceeded", "has 1 of at most 1 active keys")
		Expect(key.Status.Credentials).To(BeEmpty())
		Expect(key.Status.TenantID).To(BeEmpty(), "the key is tied to no tenant")
	})

	It("does not bring back an expired key whose token was made elsewhere", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx, func(k *keysv1alpha1.ApiKey) {
			k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: strings.Repeat("ab", 32), Prefix: "nxc_live_7Hk2PqZx"}
		})
		Expect(condition(key, "Published")).To(Equal("True/Registered"))
		env.clock.SetTime(key.Status.ExpiresTime.Time)
		env.reconcile(ctx, key)
		env.update(ctx, key, requestRotation("again"))
		expectAtRest(key, "Expired")
		Expect(message(key, "Expired")).To(ContainSubstring("with the digest of another token"))
	})

	It("does not bring back an expired key by its schedule", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx, rotating("60d", "1d"))
		env.clock.SetTime(key.Status.ExpiresTime.AddDate(1, 0, 0))
		env.reconcile(ctx, key)
		expectAtRest(key, "Expired")
		env.reconcile(ctx, key)
		expectAtRest(key, "Expired")
	})

	It("spreads out rotations that are due at once", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		keys := make([]*keysv1alpha1.ApiKey, 10)
		for i := range keys {
			keys[i] = env.create(ctx, rotating("30d", "2d"))
		}
		env.clock.SetTime(env.clock.Now().AddDate(0, 0, 40))
		rotated, delayed := 0, 0
		for _, key := range keys {
			result := env.reconcile(ctx, key)
			expectReady(ctx, key)
			if len(key.Status.Credentials) == 2 {
				rotated++
				continue
			}
			delayed++
			Expect(result.RequeueAfter).To(BeNumerically("<=", time.Second))
		}
		Expect(rotated).To(Equal(5))
		Expect(delayed).To(Equal(5))

		env.clock.SetTime(env.clock.Now().Add(time.Second))
		for _, key := range keys {
			env.reconcile(ctx, key)
			Expect(key.Status.Credentials).To(HaveLen(2))
		}
	})

	It("does not make one tenant wait for all that is due of another, nor a request for schedules", func(ctx SpecContext) {
		// It fails when Rotate asks for all keys in the name of one tenant, and when it doesn't say what is a request.
		busy, calm := newEnvironment(ctx), newEnvironment(ctx)
		calm.controller, calm.clock = busy.controller, busy.clock
		keys := make([]*keysv1alpha1.ApiKey, 11)
		for i := range keys {
			keys[i] = busy.create(ctx, rotating("30d", "2d"))
		}
		scheduled := calm.create(ctx, rotating("30d", "2d"))
		requested, requestedNext := calm.create(ctx), calm.create(ctx)
		busy.clock.SetTime(busy.clock.Now().AddDate(0, 0, 40))
		rotateAll := func() {
			GinkgoHelper()
			for _, key := range keys {
				busy.reconcile(ctx, key)
			}
		}
		rotateAll()
		Expect(keys[4].Status.Credentials).To(HaveLen(2))
		Expect(keys[5].Status.Credentials).To(HaveLen(1))
		calm.update(ctx, requested, requestRotation("now"))
		Expect(requested.Status.Credentials).To(HaveLen(2), "schedules have used up what they may")
		calm.update(ctx, requestedNext, requestRotation("now"))
		Expect(requestedNext.Status.Credentials).To(HaveLen(1))
		Expect(calm.reconcile(ctx, requestedNext).RequeueAfter).To(BeNumerically("<=", 200*time.Millisecond))

		busy.clock.SetTime(busy.clock.Now().Add(time.Second))
		calm.reconcile(ctx, requestedNext)
		Expect(requestedNext.Status.Credentials).To(HaveLen(2))
		calm.reconcile(ctx, scheduled)
		Expect(scheduled.Status.Credentials).To(HaveLen(2), "six keys of the other tenant came before")
		rotateAll()
		Expect(keys[5].Status.Credentials).To(HaveLen(2))
		Expect(keys[10].Status.Credentials).To(HaveLen(1))
	})

	It("uses a second root key for new credentials, and the first for the old ones", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		number := key.Status.Credentials[0].Root
		second := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "apikey-system", Name: "apikey-root-77", Labels: map[string]string{keysv1alpha1.RootLabel: "77"},
			},
			Data: map[string][]byte{"key": []byte("the second root key of 32 bytes.")},
		}
		Expect(cp.Client.Create(ctx, second)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(cp.Client.Delete(ctx, second)).To(Succeed()) })
		Expect(cp.Client.Delete(ctx, secretOf(ctx, key))).To(Succeed())
		env.reconcile(ctx, key)
		expectReady(ctx, key)
		Expect(key.Status.Credentials[0].Root).To(Equal(number))
		env.update(ctx, key, requestRotation("now"))
		expectReady(ctx, key)
		Expect(key.Status.Credentials[1].Root).To(BeEquivalentTo(77))
	})
})

var _ = Describe("Waiting for verifiers (S8)", func() {
	// These tests fail when the step rollout.Wait is left out of NewController.
	It("publishes nothing before every live verifier has applied the announcement", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		canary.says(ctx, "verifier-2", "1")
		key := env.create(ctx)
		Expect(condition(key, "Ready")).To(Equal("Unknown/Announced"))
		Expect(condition(key, "Reconciling")).To(Equal("True/Announced"))
		Expect(key.Status.Credentials).To(HaveLen(1))
		env.client.writes = 0
		env.reconcile(ctx, key)
		Expect(env.client.writes).To(BeZero(), "waiting needs no writes")

		canary.says(ctx, "verifier-1", key.ResourceVersion)
		env.reconcile(ctx, key)
		Expect(condition(key, "Ready")).To(Equal("Unknown/Announced"))
		Expect(key.Status.SecretName).To(BeEmpty())
		canary.says(ctx, "verifier-2", key.ResourceVersion)
		env.reconcile(ctx, key)
		expectReady(ctx, key)
	})

	It("no longer waits for a verifier that has been silent for longer than its maxStaleness", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		key := env.create(ctx)
		Expect(condition(key, "Ready")).To(Equal("Unknown/Announced"))
		env.clock.SetTime(env.clock.Now().Add(5 * time.Minute))
		env.reconcile(ctx, key)
		Expect(condition(key, "Ready")).To(Equal("Unknown/Announced"))
		env.clock.SetTime(env.clock.Now().Add(time.Second))
		env.reconcile(ctx, key)
		expectReady(ctx, key)
	})

	It("keeps the old token in the Secret while a rotation waits, and restores it if it is lost", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		env.update(ctx, key, requestRotation("now"))
		Expect(condition(key, "Ready")).To(Equal("True/Ready"))
		Expect(key.Status.Credentials).To(HaveLen(2))
		Expect(key.Status.Credentials[0].ValidUntil).To(BeNil())
		Expect(cp.Client.Delete(ctx, secretOf(ctx, key))).To(Succeed())
		env.reconcile(ctx, key)
		Expect(string(secretOf(ctx, key).Data["prefix"])).To(HaveSuffix(key.Status.Credentials[0].ID))
		Expect(condition(key, "Published")).To(Equal("True/Issued"))
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended })
		expectAtRest(key, "Suspended")
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyActive })

		canary.says(ctx, "verifier-1", key.ResourceVersion)
		env.reconcile(ctx, key)
		expectReady(ctx, key)
		Expect(key.Status.Credentials[0].ValidUntil).NotTo(BeNil())
	})

	It("reports a revocation as effective once every live verifier has applied it (S1)", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		env.clock.SetTime(env.clock.Now().Add(promptly))
		env.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("False/WaitingForVerifiers"))
		Expect(condition(key, "Revoked")).To(Equal("True/Revoked"))
		Expect(key.Status.SecretName).To(BeEmpty())
		env.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("False/WaitingForVerifiers"))
		canary.says(ctx, "verifier-1", key.ResourceVersion)
		env.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("True/Revoked"))
		Expect(message(key, "RevocationEffective")).To(Equal(
			"1 verifier refuses the key, known 250ms after the controller saw the revocation."))
	})

	// It fails when a revocation is recorded before healthy verifiers could have reported that they refuse the key.
	It("records a revocation in one patch if verifiers are prompt", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		env.client.writes = 0
		result := env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		Expect(result.RequeueAfter).To(Equal(promptly))
		env.clock.SetTime(env.clock.Now().Add(promptly / 2))
		Expect(env.reconcile(ctx, key).RequeueAfter).To(Equal(promptly / 2))
		Expect(env.client.writes).To(BeZero())
		canary.says(ctx, "verifier-1", key.ResourceVersion)
		env.reconcile(ctx, key)
		Expect(env.client.writes).To(Equal(2), "the Secret's deletion and the status")
		Expect(condition(key, "RevocationEffective")).To(Equal("True/Revoked"))
		Expect(condition(key, "Published")).To(Equal("False/Revoked"))
		expectAtRest(key, "Revoked")
	})

	// It fails when Verifiers.Progress forgets that it has waited before the key's status says so.
	It("does not wait for a revocation again when recording it was overtaken", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		key := env.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		env.clock.SetTime(env.clock.Now().Add(promptly))
		env.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("False/WaitingForVerifiers"))
		canary.says(ctx, "verifier-1", key.ResourceVersion)
		read(ctx, key)
		overtaken := key.DeepCopy()
		key.Labels = map[string]string{"team": "storefront"}
		Expect(cp.Client.Update(ctx, key)).To(Succeed())
		result, err := env.controller.Reconcile(ctx, overtaken)
		Expect(err).NotTo(HaveOccurred())
		Expect(result.RequeueAfter).NotTo(BeZero())
		env.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("True/Revoked"))
	})

	It("reports how long a revocation took, and how many verifiers were not waited for", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		canary.says(ctx, "verifier-2", "1")
		canary.says(ctx, "verifier-3", "1")
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		env.clock.SetTime(env.clock.Now().Add(5*time.Minute + time.Second))
		canary.says(ctx, "verifier-1", key.ResourceVersion)
		canary.says(ctx, "verifier-2", key.ResourceVersion)
		env.reconcile(ctx, key)
		Expect(message(key, "RevocationEffective")).To(Equal(
			"2 verifiers refuse the key, known 5m1s after the controller saw the revocation. " +
				"Silent for so long that they refuse everything: 1."))
	})

	It("waits for verifiers that may still answer when the canary is gone (S1)", func(ctx SpecContext) {
		// It fails when Verifiers.Progress takes a missing canary for one without verifiers.
		env := newEnvironment(ctx)
		key := env.create(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		canary.gone(ctx)
		env.clock.SetTime(env.clock.Now().Add(promptly))
		env.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("False/WaitingForVerifiers"))
		env.clock.SetTime(env.clock.Now().Add(5*time.Minute + time.Second))
		env.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("True/Revoked"))
	})
})

var _ = Describe("A registered digest", func() {
	It("belongs to the tenant's older key, and is free when that is gone", func(ctx SpecContext) {
		const digest = "1f26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e700"
		register := func(name string) func(*keysv1alpha1.ApiKey) {
			return func(k *keysv1alpha1.ApiKey) {
				k.Name = name
				k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: digest, Prefix: "nxc_live_7Hk2PqZx"}
			}
		}
		env, other := newEnvironment(ctx), newEnvironment(ctx)
		oldest := env.create(ctx, register("a"))
		Expect(condition(oldest, "Ready")).To(Equal("True/Ready"))
		younger := env.create(ctx, register("b"))
		expectRefused(younger, "DigestConflict", "the older ApiKey "+oldest.Namespace+"/a")
		Expect(younger.Status.Credentials).To(BeEmpty())
		elsewhere := other.create(ctx, register("c"))
		Expect(condition(elsewhere, "Ready")).To(Equal("True/Ready"), "another tenant's claim changes nothing")

		Expect(cp.Client.Delete(ctx, oldest)).To(Succeed())
		env.reconcile(ctx, younger)
		Expect(condition(younger, "Ready")).To(Equal("True/Ready"))
	})
})
