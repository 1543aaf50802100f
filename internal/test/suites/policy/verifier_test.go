package policy_test

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// probe writes annotations as the verifier of a name does: by forced server-side apply, as a field manager of its own.
func probe(ctx context.Context, who client.Client, name, annotations string) error {
	return who.Patch(ctx, canary(ctx), client.RawPatch("application/apply-patch+yaml", fmt.Appendf(nil,
		`{"apiVersion":"keys.nexuscommerce.io/v1alpha1","kind":"ApiKey",
		"metadata":{"name":"verifier-canary","namespace":"apikey-system","annotations":%s}}`, annotations)),
		client.FieldOwner("apikey-verifier-"+name), client.ForceOwnership)
}

// probeOf returns the annotation of a verifier.
func probeOf(name, nonce string) string {
	return fmt.Sprintf("{%q:%q}", keysv1alpha1.ProbeAnnotationPrefix+name, nonce)
}

var _ = Describe("The verifier's account, on the canary,", func() {
	const policy, wayOut = "apikey-verifier", "leave the rest out of the patch"

	It("writes its annotation and withdraws it, with the permissions of config/rbac", func(ctx SpecContext) {
		verifier := clientFor(cp.ServiceAccountConfig("apikey-verifier"))
		annotation := keysv1alpha1.ProbeAnnotationPrefix + "outside-a-pod"
		for _, nonce := range []string{"one", "two"} {
			Expect(probe(ctx, verifier, "outside-a-pod", probeOf("outside-a-pod", nonce))).To(Succeed())
			Expect(canary(ctx).Annotations).To(HaveKeyWithValue(annotation, nonce))
		}
		Expect(probe(ctx, verifier, "outside-a-pod", "null")).To(Succeed())
		Expect(canary(ctx).Annotations).NotTo(HaveKey(annotation))
	})

	It("writes the annotation of its own pod, and no other's, as the token that is bound to the pod says",
		func(ctx SpecContext) {
			verifier, pod := verifierInPod(ctx)
			Expect(probe(ctx, verifier, pod, probeOf(pod, "one"))).To(Succeed())
			Expect(probe(ctx, as(verifierAccount, inPod("another")), "another", probeOf("another", "one"))).To(Succeed())

			foreign := "metadata.annotations[" + keysv1alpha1.ProbeAnnotationPrefix + "another]: "
			for _, nonce := range []string{`"two"`, "null"} {
				Expect(verifier.Patch(ctx, canary(ctx),
					merge(`{"metadata":{"annotations":{"%sanother":%s}}}`, keysv1alpha1.ProbeAnnotationPrefix, nonce))).To(
					beRefusedBy(policy, foreign, "named after its pod: leave --name as it is"))
			}
			Expect(probe(ctx, verifier, "another", "null")).To(beRefusedBy(policy, foreign, "named after its pod"))
			Expect(probe(ctx, verifier, pod, "null")).To(Succeed())
			Expect(canary(ctx).Annotations).To(HaveKey(keysv1alpha1.ProbeAnnotationPrefix + "another"))
		})

	DescribeTable("changes nothing else", func(ctx SpecContext, field, way, change string) {
		for _, verifier := range []client.Client{as(verifierAccount), as(verifierAccount, inPod("some-pod"))} {
			before := canary(ctx)
			Expect(verifier.Patch(ctx, canary(ctx), merge("%s", change))).To(beRefusedBy(policy, field+": ", way))
			Expect(canary(ctx)).To(Equal(before))
		}
	},
		Entry(nil, "spec", wayOut, `{"spec":{"displayName":"Mine"}}`),
		Entry(nil, "metadata.labels", wayOut, `{"metadata":{"labels":{"a":"b"}}}`),
		Entry(nil, "metadata.finalizers", wayOut, `{"metadata":{"finalizers":["example.com/a"]}}`),
		Entry(nil, "metadata.ownerReferences", wayOut,
			`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"a","uid":"a"}]}}`),
		Entry(nil, "metadata.annotations[keys.nexuscommerce.io/rotateAt]", "only its annotation",
			`{"metadata":{"annotations":{"keys.nexuscommerce.io/rotateAt":"now"}}}`),
		Entry(nil, "metadata.annotations[probe.keys.nexuscommerce.io]", "only its annotation",
			`{"metadata":{"annotations":{"probe.keys.nexuscommerce.io":"now"}}}`),
		Entry("its annotation and more", "spec", wayOut,
			`{"spec":{"displayName":"Mine"},"metadata":{"annotations":{"probe.keys.nexuscommerce.io/some-pod":"now"}}}`),
	)

	It("makes it no key, which the canary's own policy refuses too", func(ctx SpecContext) {
		tryChange := func(change string) error {
			return as(verifierAccount).Patch(ctx, canary(ctx), merge("%s", change), client.DryRunAll)
		}
		key, unlabelled := `{"spec":{"state":"Active","scopes":["*"]}}`, `{"metadata":{"labels":null}}`
		Expect(tryChange(key)).To(MatchError(apierrors.IsForbidden, "by either"))
		Expect(tryChange(unlabelled)).To(MatchError(apierrors.IsForbidden, "by either"))
		without(ctx, "apikey-canary", func() {
			Expect(tryChange(key)).To(beRefusedBy(policy, "spec: ", wayOut))
			Expect(tryChange(unlabelled)).To(beRefusedBy(policy, "metadata.labels: ", wayOut))
		})
	})

	It("neither creates nor deletes it", func(ctx SpecContext) {
		Expect(as(verifierAccount).Delete(ctx, canary(ctx))).To(beRefusedBy(policy,
			"the verifier's account may write to no object but", "apikey-system/verifier-canary"))
		again := canary(ctx)
		again.ResourceVersion, again.UID = "", ""
		Expect(cp.Client.Delete(ctx, canary(ctx))).To(Succeed())
		DeferCleanup(func(ctx SpecContext) {
			kubectl(ctx, "apply", "--server-side", "--filename", folder("verifier", "canary.yaml"))
		})
		Expect(as(verifierAccount).Create(ctx, again)).To(beRefusedBy(policy,
			"the verifier's account may write to no object but", "neither create nor delete"))
	})
})

var _ = Describe("The verifier's account, on any other object,", func() {
	const policy = "apikey-verifier"
	const field = "the verifier's account may write to no object but the ApiKey apikey-system/verifier-canary"

	It("writes nothing", func(ctx SpecContext) {
		verifier := as(verifierAccount)
		key := create(ctx)
		namesake := fixture.ApiKey(namespace, canaryName)
		Expect(cp.Client.Create(ctx, namesake)).To(Succeed())
		neighbour := fixture.ApiKey(systemNamespace, fixture.Name("key"))
		Expect(cp.Client.Create(ctx, neighbour)).To(Succeed())
		tenant, access := fixture.Tenant(fixture.Name("tenant")), fixture.Policy(fixture.Name("policy"))
		Expect(cp.Client.Create(ctx, tenant)).To(Succeed())
		Expect(cp.Client.Create(ctx, access)).To(Succeed())

		for _, object := range []client.Object{key, namesake, neighbour, tenant, access} {
			Expect(verifier.Patch(ctx, object,
				merge(`{"metadata":{"annotations":{"probe.keys.nexuscommerce.io/a":"b"}}}`))).To(beRefusedBy(policy, field, ""))
			Expect(verifier.Delete(ctx, object)).To(beRefusedBy(policy, field, ""))
		}
		Expect(verifier.DeleteAllOf(ctx, &keysv1alpha1.ApiKey{}, client.InNamespace(namespace))).To(beRefusedBy(policy, field,
			""))
		Expect(verifier.Create(ctx, fixture.ApiKey(namespace, fixture.Name("key")))).To(beRefusedBy(policy, field, ""))
		Expect(verifier.Create(ctx, fixture.Tenant(fixture.Name("tenant")))).To(beRefusedBy(policy, field, ""))
	})
})

// verifierInPod returns a client with a real token of the verifier's account that is bound to a pod, and with the
// permissions of config/rbac.
func verifierInPod(ctx context.Context) (client.Client, string) {
	GinkgoHelper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: fixture.Name("apikey-verifier")},
		Spec: corev1.PodSpec{
			ServiceAccountName: "apikey-verifier",
			Containers:         []corev1.Container{{Name: "verifier", Image: "apikey-verifier"}},
		},
	}
	Expect(cp.Client.Create(ctx, pod)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(cp.Client.Delete(ctx, pod)).To(Succeed()) })
	token := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "apikey-verifier"}}
	Expect(cp.Client.SubResource("token").Create(ctx, account, token)).To(Succeed())
	config := rest.AnonymousClientConfig(cp.Config)
	config.BearerToken = token.Status.Token
	return clientFor(config), pod.Name
}
