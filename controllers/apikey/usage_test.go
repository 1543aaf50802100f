package apikey_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

var _ = Describe("A last use in the future", func() {
	DescribeTable("is corrected, in every state of a key", func(ctx SpecContext, change func(*keysv1alpha1.ApiKey)) {
		// It fails without the step usage.Correction.
		env := newEnvironment(ctx)
		key := env.create(ctx)
		env.update(ctx, key, change)
		future := metav1.NewTime(env.clock.Now().Add(24 * 365 * time.Hour).Truncate(time.Second))
		past := metav1.NewTime(env.clock.Now().Add(-time.Hour).Truncate(time.Second))
		key.Status.LastUsedTime = &future
		key.Status.Usage = []keysv1alpha1.CredentialUsage{
			{ID: key.Status.Credentials[0].ID, LastUsedTime: future}, {ID: "another0", LastUsedTime: past},
		}
		Expect(cp.Client.Status().Update(ctx, key)).To(Succeed())
		env.reconcile(ctx, key)
		now := env.clock.Now()
		Expect(key.Status.LastUsedTime.Time).To(BeTemporally("<=", now))
		Expect(key.Status.LastUsedTime.Time).To(BeTemporally("~", now, time.Second))
		Expect(key.Status.Usage[0].LastUsedTime.Time).To(BeTemporally("~", now, time.Second))
		Expect(key.Status.Usage[1].LastUsedTime.Time).To(Equal(past.Time))
	},
		Entry("working", func(*keysv1alpha1.ApiKey) {}),
		Entry("suspended", func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended }),
		Entry("revoked", func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked }),
		Entry("refused", func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"reviews:read"} }),
	)

	It("is left alone if it is only a small difference between clocks", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		soon := metav1.NewTime(env.clock.Now().Add(5 * time.Second).Truncate(time.Second))
		key.Status.LastUsedTime = &soon
		Expect(cp.Client.Status().Update(ctx, key)).To(Succeed())
		env.client.writes = 0
		env.reconcile(ctx, key)
		Expect(env.client.writes).To(BeZero())
	})
})
