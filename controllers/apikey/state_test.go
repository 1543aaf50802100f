package apikey_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

var _ = Describe("The state of a key", func() {
	It("is Revoked for good: the Secret goes and the record stays", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		credentials, secret := key.Status.Credentials, secretOf(ctx, key)
		w.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		expectAtRest(key, "Revoked")
		Expect(condition(key, "Revoked")).To(Equal("True/Revoked"))
		Expect(condition(key, "Published")).To(Equal("False/Revoked"))
		Expect(condition(key, "Stalled")).To(BeEmpty())
		Expect(key.Status.Credentials).To(Equal(credentials))
		Expect(key.Status.SecretName).To(BeEmpty())
		Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(MatchError(ContainSubstring("not found")))
		w.client.writes, w.client.secrets = 0, 0
		w.reconcile(ctx, key)
		Expect(w.client.writes).To(BeZero())
		Expect(w.client.secrets).To(BeZero())
	})

	// It fails when Store.Unpublish takes what status says for what there is: a controller that was overtaken may have
	// made it.
	It("is Revoked, and its Secret goes that shows up after", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		secret := secretOf(ctx, key)
		w.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		secret.ResourceVersion, secret.UID = "", ""
		Expect(cp.Client.Create(ctx, secret)).To(Succeed())
		w.reconcile(ctx, key)
		Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(MatchError(ContainSubstring("not found")))
	})

	It("is Revoked from the start when it is created so, and nothing is minted", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		expectAtRest(key, "Revoked")
		Expect(key.Status.Credentials).To(BeEmpty())
		secrets := &corev1.SecretList{}
		Expect(cp.Client.List(ctx, secrets, client.InNamespace(key.Namespace))).To(Succeed())
		Expect(secrets.Items).To(BeEmpty())
	})

	It("is Suspended until it is Active again, with the same token", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		credentials := key.Status.Credentials
		w.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended })
		expectAtRest(key, "Suspended")
		Expect(condition(key, "Stalled")).To(BeEmpty())
		w.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyActive })
		expectReady(ctx, key)
		Expect(key.Status.Credentials).To(Equal(credentials))
	})

	It("is Expired when its time has come, and does not come back by another expiry", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		result := w.reconcile(ctx, key)
		Expect(result.RequeueAfter).To(BeNumerically("~", 83*24*time.Hour, 2*time.Second), "for the warning a week before")

		w.clock.SetTime(key.Status.ExpiresTime.Add(-time.Second))
		w.reconcile(ctx, key)
		expectReady(ctx, key)
		w.clock.SetTime(key.Status.ExpiresTime.Time)
		w.reconcile(ctx, key)
		expectAtRest(key, "Expired")
		Expect(condition(key, "Expired")).To(Equal("True/Expired"))
		Expect(condition(key, "Stalled")).To(BeEmpty())

		w.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "Never" })
		expectAtRest(key, "Expired")
		Expect(key.Status.ObservedGeneration).To(Equal(key.Generation))
	})

	It("is warned of a week and a day before its end, once each", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		Expect(w.events.Events).To(Receive(HavePrefix("Normal Issued ")))
		for _, left := range []struct {
			before time.Duration
			want   string
		}{
			{8 * 24 * time.Hour, ""},
			{7 * 24 * time.Hour, "less than 7 days ahead"},
			{2 * 24 * time.Hour, ""},
			{24 * time.Hour, "less than 1 day ahead"},
			{time.Hour, ""},
		} {
			w.clock.SetTime(key.Status.ExpiresTime.Add(-left.before))
			for range 2 {
				w.reconcile(ctx, key)
			}
			expectReady(ctx, key)
			if left.want != "" {
				Expect(condition(key, "Expired")).To(Equal("False/ExpiringSoon"))
				Expect(w.events.Events).To(Receive(And(HavePrefix("Warning ExpiringSoon "), ContainSubstring(left.want))))
			}
			Expect(w.events.Events).NotTo(Receive())
		}
	})

	It("is not warned of at once when the key lives no longer than the warning", func(ctx SpecContext) {
		w := newWorld(ctx, func(t *keysv1alpha1.Tenant) { t.Spec.ExpiryOptions = []keysv1alpha1.Expiry{"2d"} })
		key := w.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "2d" })
		Expect(condition(key, "Expired")).To(Equal("False/NotExpired"))
		w.clock.SetTime(w.clock.Now().Add(25 * time.Hour))
		w.reconcile(ctx, key)
		Expect(message(key, "Expired")).To(ContainSubstring("less than 1 day ahead"))
	})
})
