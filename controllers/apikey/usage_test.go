package apikey_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

var _ = Describe("A use that has not come", func() {
	DescribeTable("is put right, in every state of a key", func(ctx SpecContext, change func(*keysv1alpha1.ApiKey)) {
		// It fails without the step usage.Correction.
		w := newWorld(ctx)
		key := w.create(ctx)
		w.update(ctx, key, change)
		future := metav1.NewTime(w.clock.Now().Add(24 * 365 * time.Hour).Truncate(time.Second))
		past := metav1.NewTime(w.clock.Now().Add(-time.Hour).Truncate(time.Second))
		key.Status.LastUsedTime = &future
		key.Status.Usage = []keysv1alpha1.CredentialUsage{{ID: key.Status.Credentials[0].ID, LastUsedTime: future}, {ID: "another0", LastUsedTime: past}}
		Expect(cp.Client.Status().Update(ctx, key)).To(Succeed())
		w.reconcile(ctx, key)
		now := w.clock.Now()
		Expect(key.Status.LastUsedTime.Time).To(BeTemporally("<=", now))
		Expect(key.Status.LastUsedTime.Time).To(BeTemporally("~", now, time.Second))
		Expect(key.Status.Usage[0].LastUsedTime.Time).To(BeTemporally("~", now, time.Second))
		Expect(key.Status.Usage[1].LastUsedTime.Time).To(Equal(past.Time))
	},
		Entry("one that works", func(*keysv1alpha1.ApiKey) {}),
		Entry("a suspended one", func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended }),
		Entry("a revoked one", func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked }),
		Entry("one that asks for too much", func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"reviews:read"} }),
	)

	It("is left alone where clocks differ by little", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		soon := metav1.NewTime(w.clock.Now().Add(5 * time.Second).Truncate(time.Second))
		key.Status.LastUsedTime = &soon
		Expect(cp.Client.Status().Update(ctx, key)).To(Succeed())
		w.client.writes = 0
		w.reconcile(ctx, key)
		Expect(w.client.writes).To(BeZero())
	})
})
