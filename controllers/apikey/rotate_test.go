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
		w := newWorld(ctx)
		key := w.create(ctx, rotating("30d", "2d"))
		expectReady(ctx, key)
		first := key.Status.Credentials[0]
		Expect(key.Status.NextRotationTime.Time).To(Equal(first.IssuedTime.AddDate(0, 0, 30)))

		w.clock.SetTime(first.IssuedTime.AddDate(0, 0, 30).Add(-time.Second))
		result := w.reconcile(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(1))
		Expect(result.RequeueAfter).To(BeNumerically("~", time.Second, time.Second))

		w.clock.SetTime(first.IssuedTime.AddDate(0, 0, 30))
		w.reconcile(ctx, key)
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
		Expect(w.events.Events).To(Receive(HavePrefix("Normal Issued ")))
		Expect(w.events.Events).To(Receive(HavePrefix("Normal Rotated ")))

		w.clock.SetTime(old.ValidUntil.Time)
		w.reconcile(ctx, key)
		expectReady(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(1))
		Expect(key.Status.Credentials[0].Digest).To(Equal(rotated.Digest))
		w.client.writes = 0
		w.reconcile(ctx, key)
		Expect(w.client.writes).To(BeZero())
		Expect(w.events.Events).NotTo(Receive())
	})

	It("replaces the token once for every new value of the annotation", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx, requestRotation("made with the object"))
		expectReady(ctx, key)
		first := key.Status.Credentials[0].Digest
		w.reconcile(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(1), "a key that is made with the annotation asks for nothing")

		w.update(ctx, key, requestRotation("2026-11-23"))
		expectReady(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(2))
		Expect(key.Status.Credentials[0].Digest).To(Equal(first))
		Expect(key.Status.Credentials[0].ValidUntil.Time).To(Equal(key.Status.Credentials[1].PublishedTime.Add(24 * time.Hour)))
		Expect(key.Status.LastHandledRotateAt).To(Equal("2026-11-23"))
		w.reconcile(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(2))

		By("asking again during the overlap: at most two tokens are valid at a time, so it waits")
		second := key.Status.Credentials[1].Digest
		w.update(ctx, key, requestRotation(strings.Repeat("long", 100)))
		expectReady(ctx, key)
		Expect(key.Status.Credentials[1].Digest).To(Equal(second))
		w.clock.SetTime(key.Status.Credentials[0].ValidUntil.Time)
		w.reconcile(ctx, key)
		expectReady(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(2))
		Expect(key.Status.Credentials[0].Digest).To(Equal(second))
		w.reconcile(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(2))
	})

	It("happens once an hour at most for a key that was given less before there was a rule", func(ctx SpecContext) {
		// It fails when rotationPeriod is what spec says.
		w := newWorld(ctx)
		key := w.create(ctx)
		Expect(released.Under(ctx, cp.Client, "apikeys", func() error {
			rotating("2s", "1s")(key)
			return cp.Client.Update(ctx, key)
		})).To(Succeed())
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
		w.reconcile(ctx, key)
		expectReady(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(1))
		Expect(key.Status.NextRotationTime.Time).To(Equal(key.Status.Credentials[0].IssuedTime.Add(time.Hour)))
		w.clock.SetTime(key.Status.NextRotationTime.Time)
		w.reconcile(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(2))
		Expect(key.Status.Credentials[0].ValidUntil.Time).To(Equal(key.Status.Credentials[1].PublishedTime.Add(time.Second)))
	})

	It("keeps the key's expiry", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		expires := key.Status.ExpiresTime
		w.clock.SetTime(w.clock.Now().AddDate(0, 0, 10))
		w.update(ctx, key, requestRotation("1"))
		Expect(key.Status.ExpiresTime).To(Equal(expires))
	})

	It("issues an expired key anew, and what has expired stays refused", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		first := key.Status.Credentials[0]
		w.clock.SetTime(key.Status.ExpiresTime.Time)
		w.reconcile(ctx, key)
		expectAtRest(key, "Expired")

		w.update(ctx, key, requestRotation("again"))
		expectReady(ctx, key)
		Expect(condition(key, "Expired")).To(Equal("False/NotExpired"))
		Expect(key.Status.Credentials).To(HaveLen(1))
		Expect(key.Status.Credentials[0].ID).NotTo(Equal(first.ID))
		Expect(key.Status.IssuedTime.Time).To(BeTemporally("~", w.clock.Now(), time.Second))
		Expect(key.Status.ExpiresTime.Time).To(Equal(key.Status.IssuedTime.AddDate(0, 0, 90)))
		Expect(key.Status.LastHandledRotateAt).To(Equal("again"))
	})

	It("does not issue an expired key anew for a rotation that was asked for before its end", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		w.update(ctx, key, requestRotation("1"))
		w.update(ctx, key, requestRotation("2")) // It waits for the overlap to end, and the key ends first.
		w.clock.SetTime(key.Status.ExpiresTime.Time)
		for range 2 {
			w.reconcile(ctx, key)
			expectAtRest(key, "Expired")
		}
	})

	It("needs a place again for an expired key", func(ctx SpecContext) {
		one := int32(1)
		w := newWorld(ctx, func(t *keysv1alpha1.Tenant) { t.Spec.MaxKeys = &one })
		key := w.create(ctx)
		w.clock.SetTime(key.Status.ExpiresTime.Time)
		w.reconcile(ctx, key)
		read(ctx, w.tenant)
		w.tenant.Status.ActiveKeys = nil // As the tenant's controller does.
		Expect(cp.Client.Status().Update(ctx, w.tenant)).To(Succeed())
		expectReady(ctx, w.create(ctx))
		w.update(ctx, key, requestRotation("again"))
		expectRefused(key, "QuotaExceeded", "has 1 of at most 1 active keys")
		Expect(key.Status.Credentials).To(BeEmpty())
		Expect(key.Status.TenantID).To(BeEmpty(), "it is tied to no tenant")
	})

	It("does not bring back an expired key whose token was made elsewhere", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx, func(k *keysv1alpha1.ApiKey) {
			k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: strings.Repeat("ab", 32), Prefix: "nxc_live_7Hk2PqZx"}
		})
		Expect(condition(key, "Published")).To(Equal("True/Registered"))
		w.clock.SetTime(key.Status.ExpiresTime.Time)
		w.reconcile(ctx, key)
		w.update(ctx, key, requestRotation("again"))
		expectAtRest(key, "Expired")
		Expect(message(key, "Expired")).To(ContainSubstring("with the digest of another token"))
	})

	It("does not bring back an expired key by its schedule", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx, rotating("60d", "1d"))
		w.clock.SetTime(key.Status.ExpiresTime.AddDate(1, 0, 0))
		w.reconcile(ctx, key)
		expectAtRest(key, "Expired")
		w.reconcile(ctx, key)
		expectAtRest(key, "Expired")
	})

	It("spreads out rotations that are due at once", func(ctx SpecContext) {
		w := newWorld(ctx)
		keys := make([]*keysv1alpha1.ApiKey, 10)
		for i := range keys {
			keys[i] = w.create(ctx, rotating("30d", "2d"))
		}
		w.clock.SetTime(w.clock.Now().AddDate(0, 0, 40))
		rotated, held := 0, 0
		for _, key := range keys {
			result := w.reconcile(ctx, key)
			expectReady(ctx, key)
			if len(key.Status.Credentials) == 2 {
				rotated++
				continue
			}
			held++
			Expect(result.RequeueAfter).To(BeNumerically("<=", time.Second))
		}
		Expect(rotated).To(Equal(5))
		Expect(held).To(Equal(5))

		w.clock.SetTime(w.clock.Now().Add(time.Second))
		for _, key := range keys {
			w.reconcile(ctx, key)
			Expect(key.Status.Credentials).To(HaveLen(2))
		}
	})

	It("uses a second root key for new credentials, and the first for the old ones", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		number := key.Status.Credentials[0].Root
		second := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "apikey-system", Name: "apikey-root-77", Labels: map[string]string{keysv1alpha1.RootLabel: "77"}},
			Data:       map[string][]byte{"key": []byte("the second root key of 32 bytes.")},
		}
		Expect(cp.Client.Create(ctx, second)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(cp.Client.Delete(ctx, second)).To(Succeed()) })
		Expect(cp.Client.Delete(ctx, secretOf(ctx, key))).To(Succeed())
		w.reconcile(ctx, key)
		expectReady(ctx, key)
		Expect(key.Status.Credentials[0].Root).To(Equal(number))
		w.update(ctx, key, requestRotation("now"))
		expectReady(ctx, key)
		Expect(key.Status.Credentials[1].Root).To(BeEquivalentTo(77))
	})
})

var _ = Describe("Waiting for verifiers (S8)", func() {
	// They fail when the step rollout.Wait is left out of NewController.
	It("publishes nothing before every live verifier has applied the announcement", func(ctx SpecContext) {
		w := newWorld(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		canary.says(ctx, "verifier-2", "1")
		key := w.create(ctx)
		Expect(condition(key, "Ready")).To(Equal("Unknown/Announced"))
		Expect(condition(key, "Reconciling")).To(Equal("True/Announced"))
		Expect(key.Status.Credentials).To(HaveLen(1))
		w.client.writes = 0
		w.reconcile(ctx, key)
		Expect(w.client.writes).To(BeZero(), "waiting needs no writes")

		canary.says(ctx, "verifier-1", key.ResourceVersion)
		w.reconcile(ctx, key)
		Expect(condition(key, "Ready")).To(Equal("Unknown/Announced"))
		Expect(key.Status.SecretName).To(BeEmpty())
		canary.says(ctx, "verifier-2", key.ResourceVersion)
		w.reconcile(ctx, key)
		expectReady(ctx, key)
	})

	It("goes on without a verifier that has been silent for longer than it may be stale", func(ctx SpecContext) {
		w := newWorld(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		key := w.create(ctx)
		Expect(condition(key, "Ready")).To(Equal("Unknown/Announced"))
		w.clock.SetTime(w.clock.Now().Add(5 * time.Minute))
		w.reconcile(ctx, key)
		Expect(condition(key, "Ready")).To(Equal("Unknown/Announced"))
		w.clock.SetTime(w.clock.Now().Add(time.Second))
		w.reconcile(ctx, key)
		expectReady(ctx, key)
	})

	It("leaves the old token in the Secret while a rotation waits, and heals it", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		w.update(ctx, key, requestRotation("now"))
		Expect(condition(key, "Ready")).To(Equal("True/Ready"))
		Expect(key.Status.Credentials).To(HaveLen(2))
		Expect(key.Status.Credentials[0].ValidUntil).To(BeNil())
		Expect(cp.Client.Delete(ctx, secretOf(ctx, key))).To(Succeed())
		w.reconcile(ctx, key)
		Expect(string(secretOf(ctx, key).Data["prefix"])).To(HaveSuffix(key.Status.Credentials[0].ID))
		Expect(condition(key, "Published")).To(Equal("True/Issued"))
		w.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended })
		expectAtRest(key, "Suspended")
		w.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyActive })

		canary.says(ctx, "verifier-1", key.ResourceVersion)
		w.reconcile(ctx, key)
		expectReady(ctx, key)
		Expect(key.Status.Credentials[0].ValidUntil).NotTo(BeNil())
	})

	It("says that a revocation is effective once every live verifier has applied it (S1)", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		w.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		w.clock.SetTime(w.clock.Now().Add(promptly))
		w.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("False/WaitingForVerifiers"))
		Expect(condition(key, "Revoked")).To(Equal("True/Revoked"))
		Expect(key.Status.SecretName).To(BeEmpty())
		w.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("False/WaitingForVerifiers"))
		canary.says(ctx, "verifier-1", key.ResourceVersion)
		w.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("True/Revoked"))
		Expect(message(key, "RevocationEffective")).To(Equal("1 verifier refuses the key, known 250ms after the controller saw the revocation."))
	})

	// It fails when a revocation is written down before healthy verifiers could have said that they refuse the key.
	It("says all of a revocation in one patch where verifiers are prompt", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		w.client.writes = 0
		result := w.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		Expect(result.RequeueAfter).To(Equal(promptly))
		w.clock.SetTime(w.clock.Now().Add(promptly / 2))
		Expect(w.reconcile(ctx, key).RequeueAfter).To(Equal(promptly / 2))
		Expect(w.client.writes).To(BeZero())
		canary.says(ctx, "verifier-1", key.ResourceVersion)
		w.reconcile(ctx, key)
		Expect(w.client.writes).To(Equal(2), "the Secret's deletion and the status")
		Expect(condition(key, "RevocationEffective")).To(Equal("True/Revoked"))
		Expect(condition(key, "Published")).To(Equal("False/Revoked"))
		expectAtRest(key, "Revoked")
	})

	// It fails when Verifiers.Progress forgets what was waited for before the key says so.
	It("is not waited for again when writing it down was overtaken", func(ctx SpecContext) {
		w := newWorld(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		key := w.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		w.clock.SetTime(w.clock.Now().Add(promptly))
		w.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("False/WaitingForVerifiers"))
		canary.says(ctx, "verifier-1", key.ResourceVersion)
		read(ctx, key)
		overtaken := key.DeepCopy()
		key.Labels = map[string]string{"team": "storefront"}
		Expect(cp.Client.Update(ctx, key)).To(Succeed())
		result, err := w.controller.Reconcile(ctx, overtaken)
		Expect(err).NotTo(HaveOccurred())
		Expect(result.RequeueAfter).NotTo(BeZero())
		w.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("True/Revoked"))
	})

	It("says how long a revocation took, and how many verifiers were not waited for", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		canary.says(ctx, "verifier-2", "1")
		canary.says(ctx, "verifier-3", "1")
		w.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		w.clock.SetTime(w.clock.Now().Add(5*time.Minute + time.Second))
		canary.says(ctx, "verifier-1", key.ResourceVersion)
		canary.says(ctx, "verifier-2", key.ResourceVersion)
		w.reconcile(ctx, key)
		Expect(message(key, "RevocationEffective")).To(Equal(
			"2 verifiers refuse the key, known 5m1s after the controller saw the revocation. Silent for so long that they refuse everything: 1."))
	})

	It("waits for verifiers that may still answer when the canary is gone (S1)", func(ctx SpecContext) {
		// It fails when Verifiers.Progress takes a canary that is not there for one that says nothing.
		w := newWorld(ctx)
		key := w.create(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		w.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		canary.gone(ctx)
		w.clock.SetTime(w.clock.Now().Add(promptly))
		w.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("False/WaitingForVerifiers"))
		w.clock.SetTime(w.clock.Now().Add(5*time.Minute + time.Second))
		w.reconcile(ctx, key)
		Expect(condition(key, "RevocationEffective")).To(Equal("True/Revoked"))
	})
})

var _ = Describe("A digest that is brought", func() {
	It("is held by the tenant's older key, and is free when that is gone", func(ctx SpecContext) {
		const digest = "1f26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e700"
		bring := func(name string) func(*keysv1alpha1.ApiKey) {
			return func(k *keysv1alpha1.ApiKey) {
				k.Name = name
				k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: digest, Prefix: "nxc_live_7Hk2PqZx"}
			}
		}
		w, other := newWorld(ctx), newWorld(ctx)
		oldest := w.create(ctx, bring("a"))
		Expect(condition(oldest, "Ready")).To(Equal("True/Ready"))
		younger := w.create(ctx, bring("b"))
		expectRefused(younger, "DigestConflict", "the older ApiKey "+oldest.Namespace+"/a")
		Expect(younger.Status.Credentials).To(BeEmpty())
		elsewhere := other.create(ctx, bring("c"))
		Expect(condition(elsewhere, "Ready")).To(Equal("True/Ready"), "another tenant's claim changes nothing")

		Expect(cp.Client.Delete(ctx, oldest)).To(Succeed())
		w.reconcile(ctx, younger)
		Expect(condition(younger, "Ready")).To(Equal("True/Ready"))
	})
})
