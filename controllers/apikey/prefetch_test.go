package apikey_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// The tests of how seldom Secrets are read. They fail when Publish.write reads before it creates; when Store.prefetch
// reads nothing or is forgotten; and, by a Secret that is not restored, when recordFound leaves out what is in it, or
// upToDate the resourceVersion.
var _ = Describe("A Secret", func() {
	It("is not read before it is made for the first time, nor while it is as it was", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		for range 3 {
			w.reconcile(ctx, key)
		}
		expectReady(ctx, key)
		Expect(w.client.secrets).To(BeZero())
	})

	It("is read with all of its namespace by a process that starts", func(ctx SpecContext) {
		w := newWorld(ctx)
		keys := []*keysv1alpha1.ApiKey{w.create(ctx), w.create(ctx), w.create(ctx)}
		w.client = &countingClient{Client: cp.Client}
		w.controller = w.newController(w.client)
		for range 2 {
			for _, key := range keys {
				w.reconcile(ctx, key)
				expectReady(ctx, key)
			}
		}
		Expect(w.client.secretLists).To(Equal(1))
		Expect(w.client.secrets).To(BeZero())
		Expect(w.client.writes).To(BeZero())
	})

	DescribeTable("that was changed before a process starts, or after it has read all of the namespace, is what it should be again",
		func(ctx SpecContext, written bool, change func(*corev1.Secret)) {
			for _, before := range []bool{true, false} {
				w := newWorld(ctx)
				key, other := w.create(ctx), w.create(ctx)
				want := secretOf(ctx, key)
				w.client = &countingClient{Client: cp.Client}
				w.controller = w.newController(w.client)
				if !before {
					w.reconcile(ctx, other)
				}
				changed := want.DeepCopy()
				change(changed)
				Expect(cp.Client.Update(ctx, changed)).To(Succeed())
				w.reconcile(ctx, key)
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
					Expect(w.client.writes).NotTo(BeZero())
				} else {
					Expect(w.client.writes).To(BeZero())
				}
			}
		},
		Entry("its token", true, func(s *corev1.Secret) { s.Data["token"] = []byte("nonsense") }),
		Entry("an entry less", true, func(s *corev1.Secret) { delete(s.Data, "uri") }),
		Entry("an entry more", true, func(s *corev1.Secret) { s.Data["more"] = []byte("x") }),
		Entry("a label less", true, func(s *corev1.Secret) { delete(s.Labels, keysv1alpha1.GroupName+"/uid") }),
		Entry("all labels", true, func(s *corev1.Secret) { s.Labels = nil }),
		Entry("no owner", true, func(s *corev1.Secret) { s.OwnerReferences = nil }),
		Entry("immutable", true, func(s *corev1.Secret) { s.Immutable = new(true) }),
		Entry("a label of somebody else's", false, func(s *corev1.Secret) { s.Labels["team"] = "warehouse" }),
	)

	It("is read by itself where the namespace's can't be listed", func(ctx SpecContext) {
		w := newWorld(ctx)
		key := w.create(ctx)
		w.client = &countingClient{Client: cp.Client, secretListsFail: true}
		w.controller = w.newController(w.client)
		w.reconcile(ctx, key)
		Expect(w.client.secrets).To(Equal(1))
		secret := secretOf(ctx, key)
		secret.Data["token"] = []byte("nonsense")
		Expect(cp.Client.Update(ctx, secret)).To(Succeed())
		w.reconcile(ctx, key)
		expectReady(ctx, key)
	})
})
