package policy_test

import (
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

func labelled(key *keysv1alpha1.ApiKey) {
	key.Labels = map[string]string{keysv1alpha1.CanaryLabel: "true"}
}

var _ = Describe("The canary's label", func() {
	const policy, field, wayOut = "apikey-canary", "metadata.labels[keys.nexuscommerce.io/canary]: ", "remove the label"

	It("is on no other ApiKey", func(ctx SpecContext) {
		for _, key := range []*keysv1alpha1.ApiKey{
			fixture.ApiKey(namespace, fixture.Name("key"), labelled),
			fixture.ApiKey(namespace, fixture.Name("key"), labelled,
				func(k *keysv1alpha1.ApiKey) { k.Labels[keysv1alpha1.CanaryLabel] = "" }),
			fixture.ApiKey(namespace, "", labelled, func(k *keysv1alpha1.ApiKey) { k.GenerateName = "key-" }),
			fixture.ApiKey(namespace, canaryName, labelled),
			fixture.ApiKey(systemNamespace, fixture.Name("key"), labelled),
		} {
			Expect(cp.Client.Create(ctx, key)).To(beRefusedBy(policy, field, wayOut), key.Namespace+"/"+key.Name)
		}
		for _, somebody := range []client.Client{cp.Client, author, editor} {
			Expect(somebody.Patch(ctx, create(ctx),
				merge(`{"metadata":{"labels":{"keys.nexuscommerce.io/canary":"true"}}}`))).To(beRefusedBy(policy, field, wayOut))
		}
	})

	It("has others' labels and names left alone", func(ctx SpecContext) {
		Expect(author.Create(ctx,
			fixture.ApiKey(namespace, "", func(k *keysv1alpha1.ApiKey) { k.GenerateName = "key-" }))).To(Succeed())
		key := create(ctx)
		Expect(editor.Patch(ctx, key, merge(`{"metadata":{"labels":{"keys.nexuscommerce.io/other":"true"}}}`))).To(Succeed())
	})

	It("doesn't keep an ApiKey that has it all the same from being changed", func(ctx SpecContext) {
		var key *keysv1alpha1.ApiKey
		without(ctx, policy, func() { key = create(ctx, labelled) })
		Expect(editor.Patch(ctx, key, merge(`{"metadata":{"finalizers":["example.com/a"]}}`))).To(Succeed())
		Expect(editor.Patch(ctx, key, merge(`{"spec":{"state":"Revoked"}}`))).To(Succeed())
		Expect(editor.Patch(ctx, key, merge(`{"metadata":{"finalizers":null,"labels":null}}`))).To(Succeed())
		Expect(editor.Patch(ctx, key,
			merge(`{"metadata":{"labels":{"keys.nexuscommerce.io/canary":"true"}}}`))).To(beRefusedBy(policy, field, wayOut))
	})

	It("stays on the canary", func(ctx SpecContext) {
		Expect(cp.Client.Patch(ctx, canary(ctx), client.RawPatch("application/apply-patch+yaml", []byte(
			`{"apiVersion":"keys.nexuscommerce.io/v1alpha1","kind":"ApiKey",
			"metadata":{"name":"verifier-canary","namespace":"apikey-system","labels":null},
			"spec":{"scopes":["canary:none"],"state":"Suspended"}}`)), client.FieldOwner("kubectl"), client.ForceOwnership)).To(
			beRefusedBy(policy, field, "apply config/verifier/canary.yaml as it is"))
		Expect(cp.Client.Patch(ctx, canary(ctx), merge(`{"metadata":{"labels":null}}`))).To(
			beRefusedBy(policy, field, "apply config/verifier/canary.yaml as it is"))
		Expect(cp.Client.Patch(ctx, canary(ctx), merge(`{"metadata":{"labels":{"example.com/team":"a"}}}`))).To(Succeed())
		Expect(cp.Client.Patch(ctx, canary(ctx), merge(`{"metadata":{"labels":{"example.com/team":null}}}`))).To(Succeed())
	})
})

var _ = Describe("The canary", func() {
	const policy, wayOut = "apikey-canary", "apply config/verifier/canary.yaml as it is"

	DescribeTable("stays what it is", func(ctx SpecContext, change string) {
		Expect(cp.Client.Patch(ctx, canary(ctx), merge(`{"spec":%s}`, change))).To(beRefusedBy(policy, "spec: ", wayOut))
	},
		Entry(nil, `{"state":"Active"}`),
		Entry(nil, `{"state":null}`),
		Entry(nil, `{"state":"Revoked"}`),
		Entry(nil, `{"scopes":["*"]}`),
		Entry(nil, `{"scopes":["canary:none","products:read"]}`),
		Entry(nil, `{"expiry":"1y"}`),
		Entry(nil, `{"allowedCIDRs":["203.0.113.0/24"]}`),
		Entry(nil, `{"secret":{"name":"a"}}`),
		Entry(nil, `{"rotation":{"every":"30d"}}`),
	)

	It("may be given another name for people", func(ctx SpecContext) {
		Expect(cp.Client.Patch(ctx, canary(ctx), merge(`{"spec":{"displayName":"Canary"}}`))).To(Succeed())
		Expect(cp.Client.Patch(ctx, canary(ctx),
			merge(`{"spec":{"displayName":"Proof of the verifiers' freshness"}}`))).To(Succeed())
	})

	It("may be deleted, and is created as config/verifier has it", func(ctx SpecContext) {
		like := func(change ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey {
			return fixture.ApiKey(systemNamespace, canaryName,
				append([]func(*keysv1alpha1.ApiKey){labelled, func(k *keysv1alpha1.ApiKey) {
					k.Spec = keysv1alpha1.ApiKeySpec{Scopes: []keysv1alpha1.Scope{"canary:none"}, State: keysv1alpha1.ApiKeySuspended}
				}}, change...)...)
		}
		kubectl(ctx, "delete", "--cascade=foreground", "--filename", folder("verifier", "canary.yaml"))
		DeferCleanup(func(ctx SpecContext) {
			kubectl(ctx, "apply", "--server-side", "--filename", folder("verifier", "canary.yaml"))
		})

		Expect(cp.Client.Create(ctx, like(), client.DryRunAll)).To(Succeed())
		Expect(cp.Client.Create(ctx, like(func(k *keysv1alpha1.ApiKey) { k.Labels = nil }))).To(beRefusedBy(policy,
			"metadata.labels[", wayOut))
		Expect(cp.Client.Create(ctx, like(func(k *keysv1alpha1.ApiKey) { k.Spec.State = "" }))).To(beRefusedBy(policy,
			"spec: ", wayOut))
		Expect(cp.Client.Create(ctx, like(func(k *keysv1alpha1.ApiKey) {
			k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: strings.Repeat("a", 64), Prefix: "nxc_live_7Hk2PqZx"}
		}))).To(beRefusedBy(policy, "spec: ", wayOut))
		Expect(cp.Client.Create(ctx, like(func(k *keysv1alpha1.ApiKey) {
			k.Annotations = map[string]string{keysv1alpha1.ProbeAnnotationPrefix + "a": "forged"}
		}))).To(beRefusedBy(policy, "metadata.annotations[probe.keys.nexuscommerce.io/a]: ", "leave it out"))
		kubectl(ctx, "apply", "--server-side", "--filename", folder("verifier", "canary.yaml"))
	})

	It("proves freshness even where it is not what it should be, and can be put right", func(ctx SpecContext) {
		without(ctx, policy, func() {
			Expect(cp.Client.Patch(ctx, canary(ctx),
				merge(`{"metadata":{"labels":null},"spec":{"state":"Active","expiry":"1y"}}`))).To(Succeed())
		})
		verifier := clientFor(cp.ServiceAccountConfig("apikey-verifier"))
		Expect(probe(ctx, verifier, "outside-a-pod", probeOf("outside-a-pod", "one"))).To(Succeed())
		Expect(cp.Client.Patch(ctx, canary(ctx), merge(`{"spec":{"expiry":null}}`))).To(beRefusedBy(policy, "spec: ", wayOut))
		Expect(cp.Client.Patch(ctx, canary(ctx), merge(`{"spec":{"expiry":null,"state":"Suspended"}}`))).To(Succeed())
		kubectl(ctx, "apply", "--server-side", "--filename", folder("verifier", "canary.yaml"))
		Expect(canary(ctx).Labels).To(HaveKey(keysv1alpha1.CanaryLabel))
	})
})

var _ = Describe("A verifier's annotation on the canary", func() {
	const policy = "apikey-canary"

	// somebodys writes the annotation of a verifier that has crashed since.
	somebodys := func(ctx context.Context) (annotation, field string) {
		GinkgoHelper()
		name := fixture.Name("crashed")
		Expect(probe(ctx, as(verifierAccount), name, probeOf(name, "one"))).To(Succeed())
		return keysv1alpha1.ProbeAnnotationPrefix + name, "metadata.annotations[" + keysv1alpha1.ProbeAnnotationPrefix +
			name + "]: "
	}

	It("is written by nobody else", func(ctx SpecContext) {
		annotation, field := somebodys(ctx)
		for _, somebody := range []client.Client{cp.Client, as(controllerAccount),
			as("system:serviceaccount:default:apikey-verifier")} {
			Expect(somebody.Patch(ctx, canary(ctx),
				merge(`{"metadata":{"annotations":{%q:"two"}}}`, annotation))).To(beRefusedBy(policy, field, "leave it out"))
			Expect(somebody.Patch(ctx, canary(ctx),
				merge(`{"metadata":{"annotations":{"probe.keys.nexuscommerce.io/new":"two"}}}`))).To(
				beRefusedBy(policy, "metadata.annotations[probe.keys.nexuscommerce.io/new]: ", "leave it out"))
		}
		Expect(cp.Client.Patch(ctx, canary(ctx),
			merge(`{"metadata":{"annotations":{"example.com/note":"hello"}}}`))).To(Succeed())
		Expect(cp.Client.Patch(ctx, canary(ctx),
			merge(`{"metadata":{"annotations":{"example.com/note":null}}}`))).To(Succeed())
	})

	It("is removed by the controller, once nobody has to wait for it", func(ctx SpecContext) {
		annotation, _ := somebodys(ctx)
		Expect(as(controllerAccount).Patch(ctx, canary(ctx),
			merge(`{"metadata":{"annotations":{%q:null}}}`, annotation))).To(Succeed())
		Expect(canary(ctx).Annotations).NotTo(HaveKey(annotation))
	})

	It("is removed by who may delete the canary, when its verifier can't any more", func(ctx SpecContext) {
		annotation, field := somebodys(ctx)
		remove := merge(`{"metadata":{"annotations":{%q:null}}}`, annotation)
		Expect(personIn(ctx, systemNamespace, "apikey-edit").Patch(ctx, canary(ctx), remove)).To(beRefusedBy(policy, field,
			"leave it as it is"))
		Expect(personIn(ctx, systemNamespace, "apikey-admin").Patch(ctx, canary(ctx), remove)).To(Succeed())
		Expect(canary(ctx).Annotations).NotTo(HaveKey(annotation))
	})

	It("says that its verifier is gone, in the words of who may delete the canary", func(ctx SpecContext) {
		annotation, field := somebodys(ctx)
		gone := func(value string) client.Patch {
			return merge(`{"metadata":{"annotations":{%q:%q}}}`, annotation, value)
		}
		for _, somebody := range []client.Client{personIn(ctx, systemNamespace, "apikey-edit"),
			clientFor(cp.ServiceAccountConfig("apikey-controller"))} {
			Expect(somebody.Patch(ctx, canary(ctx), gone("gone"))).To(beRefusedBy(policy, field, "leave it out"))
		}
		admin := personIn(ctx, systemNamespace, "apikey-admin")
		Expect(admin.Patch(ctx, canary(ctx), gone("Gone"))).To(beRefusedBy(policy, field, "leave it out"))
		Expect(admin.Patch(ctx, canary(ctx), gone("gone"))).To(Succeed())
		Expect(as(controllerAccount).Patch(ctx, canary(ctx),
			merge(`{"metadata":{"annotations":{%q:null}}}`, annotation))).To(Succeed())
	})

	It("is sealed by the controller alone", func(ctx SpecContext) {
		seal := func(uid types.UID) client.Patch {
			return merge(`{"metadata":{"annotations":{%q:%q}}}`, keysv1alpha1.SealAnnotation, uid)
		}
		for _, somebody := range []client.Client{cp.Client, personIn(ctx, systemNamespace, "apikey-admin")} {
			Expect(somebody.Patch(ctx, canary(ctx), seal(canary(ctx).UID))).To(
				beRefusedBy(policy, "metadata.annotations[keys.nexuscommerce.io/sealed]: ", "only the controller"))
			Expect(somebody.Patch(ctx, canary(ctx), seal("of-another-object"))).To(Succeed(), "a backup may have it")
		}
		Expect(as(verifierAccount).Patch(ctx, canary(ctx), seal(canary(ctx).UID))).NotTo(Succeed())
		Expect(as(controllerAccount).Patch(ctx, canary(ctx), seal(canary(ctx).UID))).To(Succeed())
		Expect(cp.Client.Patch(ctx, canary(ctx),
			merge(`{"metadata":{"annotations":{%q:null}}}`, keysv1alpha1.SealAnnotation))).To(Succeed())
	})

	It("means nothing elsewhere", func(ctx SpecContext) {
		Expect(editor.Patch(ctx, create(ctx),
			merge(`{"metadata":{"annotations":{"probe.keys.nexuscommerce.io/a":"b"}}}`))).To(Succeed())
	})
})
