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
	It("is Revoked permanently: the Secret goes and the record stays", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		credentials, secret := key.Status.Credentials, secretOf(ctx, key)
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		expectAtRest(key, "Revoked")
		Expect(condition(key, "Revoked")).To(Equal("True/Revoked"))
		Expect(condition(key, "Published")).To(Equal("False/Revoked"))
		Expect(condition(key, "Stalled")).To(BeEmpty())
		Expect(key.Status.Credentials).To(Equal(credentials))
		Expect(key.Status.SecretName).To(BeEmpty())
		Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(MatchError(ContainSubstring("not found")))
		env.client.writes, env.client.secrets = 0, 0
		env.reconcile(ctx, key)
		Expect(env.client.writes).To(BeZero())
		Expect(env.client.secrets).To(BeZero())
	})

	// It fails when Store.Unpublish relies on status: a controller that was overtaken may have created the Secret after
	// that.
	It("is Revoked, and a Secret that appears afterwards goes too", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		secret := secretOf(ctx, key)
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		secret.ResourceVersion, secret.UID = "", ""
		Expect(cp.Client.Create(ctx, secret)).To(Succeed())
		env.reconcile(ctx, key)
		Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret)).To(MatchError(ContainSubstring("not found")))
	})

	It("is Revoked from the start if the key is created so, and nothing is minted", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		expectAtRest(key, "Revoked")
		Expect(key.Status.Credentials).To(BeEmpty())
		secrets := &corev1.SecretList{}
		Expect(cp.Client.List(ctx, secrets, client.InNamespace(key.Namespace))).To(Succeed())
		Expect(secrets.Items).To(BeEmpty())
	})

	It("is Suspended until it is Active again, with the same token", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		credentials := key.Status.Credentials
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended })
		expectAtRest(key, "Suspended")
		Expect(condition(key, "Stalled")).To(BeEmpty())
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyActive })
		expectReady(ctx, key)
		Expect(key.Status.Credentials).To(Equal(credentials))
	})

	It("is Expired when its expiry has passed, and another expiry does not bring it back", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		result := env.reconcile(ctx, key)
		Expect(result.RequeueAfter).To(BeNumerically("~", 83*24*time.Hour, 2*time.Second), "for the warning a week before")

		env.clock.SetTime(key.Status.ExpiresTime.Add(-time.Second))
		env.reconcile(ctx, key)
		expectReady(ctx, key)
		env.clock.SetTime(key.Status.ExpiresTime.Time)
		env.reconcile(ctx, key)
		expectAtRest(key, "Expired")
		Expect(condition(key, "Expired")).To(Equal("True/Expired"))
		Expect(condition(key, "Stalled")).To(BeEmpty())

		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "Never" })
		expectAtRest(key, "Expired")
		Expect(key.Status.ObservedGeneration).To(Equal(key.Generation))

		By("having a controller whose clock is behind")
		env.clock.SetTime(key.Status.ExpiresTime.Add(-time.Hour))
		env.reconcile(ctx, key)
		expectAtRest(key, "Expired")
	})

	DescribeTable("is looked at again when the key expires", func(ctx SpecContext, change func(*keysv1alpha1.ApiKey)) {
		// It fails when untilExpired is 0: nothing else makes a key be reconciled then.
		env := newEnvironment(ctx)
		key := env.create(ctx)
		env.update(ctx, key, change)
		env.clock.SetTime(key.Status.ExpiresTime.Add(-time.Minute))
		env.reconcile(ctx, key) // Whatever there is to write, such as a warning.
		result := env.reconcile(ctx, key)
		Expect(condition(key, "Expired")).NotTo(Equal("True/Expired"))
		Expect(result.RequeueAfter).To(BeNumerically("~", time.Minute, 2*time.Second))
		env.clock.SetTime(env.clock.Now().Add(result.RequeueAfter))
		result = env.reconcile(ctx, key)
		Expect(condition(key, "Expired")).To(Equal("True/Expired"))
		Expect(result.RequeueAfter).To(BeZero(), "there is nothing left to wait for")
	},
		Entry("while it works", func(*keysv1alpha1.ApiKey) {}),
		Entry("while it is suspended", func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended }),
		Entry("while it is refused", func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"reviews:read"} }),
	)

	It("has a warning a week and a day before it expires, once each", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		Expect(env.events.Events).To(Receive(HavePrefix("Normal Issued ")))
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
			env.clock.SetTime(key.Status.ExpiresTime.Add(-left.before))
			for range 2 {
				env.reconcile(ctx, key)
			}
			expectReady(ctx, key)
			if left.want != "" {
				Expect(condition(key, "Expired")).To(Equal("False/ExpiringSoon"))
				Expect(env.events.Events).To(Receive(And(HavePrefix("Warning ExpiringSoon "), ContainSubstring(left.want))))
			}
			Expect(env.events.Events).NotTo(Receive())
		}
	})

	It("has no warning at the start if the key lives no longer than the window", func(ctx SpecContext) {
		env := newEnvironment(ctx, func(t *keysv1alpha1.Tenant) { t.Spec.ExpiryOptions = []keysv1alpha1.Expiry{"2d"} })
		key := env.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "2d" })
		Expect(condition(key, "Expired")).To(Equal("False/NotExpired"))
		env.clock.SetTime(env.clock.Now().Add(25 * time.Hour))
		env.reconcile(ctx, key)
		Expect(message(key, "Expired")).To(ContainSubstring("less than 1 day ahead"))
	})
})
