package apikey_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// These tests are about how seldom Secrets are read. They fail when Publish.write reads before it creates; when
// Store.prefetch reads nothing or is not called; and, with a Secret that is not restored, when recordFound leaves out
// some of the content, or upToDate ignores the resourceVersion.
var _ = Describe("A Secret", func() {
	It("is not read before it is created for the first time, nor while it is unchanged", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		for range 3 {
			env.reconcile(ctx, key)
		}
		expectReady(ctx, key)
		Expect(env.client.secrets).To(BeZero())
	})

	It("is read together with all others of its namespace by a process that starts", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		keys := []*keysv1alpha1.ApiKey{env.create(ctx), env.create(ctx), env.create(ctx)}
		env.client = &countingClient{Client: cp.Client}
		env.controller = env.newController(env.client)
		for range 2 {
			for _, key := range keys {
				env.reconcile(ctx, key)
				expectReady(ctx, key)
			}
		}
		Expect(env.client.secretLists).To(Equal(1))
		Expect(env.client.secrets).To(BeZero())
		Expect(env.client.writes).To(BeZero())
	})

	DescribeTable("is restored if it was changed before a process started, or after its prefetch:",
		func(ctx SpecContext, written bool, change func(*corev1.Secret)) {
			for _, before := range []bool{true, false} {
				env := newEnvironment(ctx)
				key, other := env.create(ctx), env.create(ctx)
				want := secretOf(ctx, key)
				env.client = &countingClient{Client: cp.Client}
				env.controller = env.newController(env.client)
				if !before {
					env.reconcile(ctx, other)
				}
				changed := want.DeepCopy()
				change(changed)
				Expect(cp.Client.Update(ctx, changed)).To(Succeed())
				env.reconcile(ctx, key)
				expectReady(ctx, key)
				is := secretOf(ctx, key)
				Expect(is.OwnerReferences).To(Equal(want.OwnerReferences))
				Expect(is.Data).To(HaveLen(len(want.Data)))
				for name := range want.Data {
					expectSame(string(is.Data[name]), string(want.Data[name]))
				}
				for name, value := range want.Labels {
					Expect(is.Labels).To(HaveKeyWithValue(name, value))
				}
				if written {
					Expect(env.client.writes).NotTo(BeZero())
				} else {
					Expect(env.client.writes).To(BeZero())
				}
			}
		},
		Entry("another token", true, func(s *corev1.Secret) { s.Data["token"] = []byte("nonsense") }),
		Entry("without an entry", true, func(s *corev1.Secret) { delete(s.Data, "uri") }),
		Entry("with another entry", true, func(s *corev1.Secret) { s.Data["more"] = []byte("x") }),
		Entry("without a label", true, func(s *corev1.Secret) { delete(s.Labels, keysv1alpha1.GroupName+"/uid") }),
		Entry("without labels", true, func(s *corev1.Secret) { s.Labels = nil }),
		Entry("without an owner", true, func(s *corev1.Secret) { s.OwnerReferences = nil }),
		Entry("immutable", true, func(s *corev1.Secret) { s.Immutable = new(true) }),
		Entry("with somebody else's label, which stays", false, func(s *corev1.Secret) { s.Labels["team"] = "warehouse" }),
	)

	It("is read by itself if the namespace's Secrets can't be listed", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		env.client = &countingClient{Client: cp.Client, secretListsFail: true}
		env.controller = env.newController(env.client)
		env.reconcile(ctx, key)
		Expect(env.client.secrets).To(Equal(1))
		secret := secretOf(ctx, key)
		secret.Data["token"] = []byte("nonsense")
		Expect(cp.Client.Update(ctx, secret)).To(Succeed())
		env.reconcile(ctx, key)
		expectReady(ctx, key)
	})
})
