package policy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// verifiersFields are what the verifier's account may change in the status of an ApiKey.
var verifiersFields = []string{"usage", "lastUsedTime"}

// fullStatus returns a status with a value in every field.
func fullStatus() keysv1alpha1.ApiKeyStatus {
	then := metav1.Date(2026, 11, 23, 12, 0, 0, 0, metav1.Now().Location())
	return keysv1alpha1.ApiKeyStatus{
		Conditions: []metav1.Condition{{Type: "Ready", Status: "False", Reason: "Suspended",
			Message: "The key is suspended.", LastTransitionTime: then}},
		ObservedGeneration: 1,
		Prefix:             "nxc_live_7Hk2PqZx",
		TenantID:           "3714240b-2e06-4c35-8856-ccc1c096323e",
		Scopes:             []keysv1alpha1.Scope{"products:read"},
		AllowedCIDRs:       []keysv1alpha1.CIDR{"203.0.113.0/24"},
		Credentials: []keysv1alpha1.Credential{{ID: "7Hk2PqZx", Digest: digest("a"), Root: 1, IssuedTime: then,
			ValidUntil: &then}},
		IssuedTime:          &then,
		ExpiresTime:         &then,
		Expires:             "2027-02-21",
		LastUsedTime:        &then,
		Usage:               []keysv1alpha1.CredentialUsage{{ID: "7Hk2PqZx", LastUsedTime: then}},
		NextRotationTime:    &then,
		LastHandledRotateAt: "now",
		SecretName:          "example",
		Binding:             &keysv1alpha1.Binding{Name: "example"},
	}
}

// digest returns the digest of no token.
func digest(digit string) string { return "sha256:" + strings.Repeat(digit, 64) }

// fields returns the fields of a struct by the names that they have in the API. Every one must have a value.
func fields(of any) map[string]string {
	GinkgoHelper()
	value := reflect.ValueOf(of)
	found := map[string]string{}
	for i := range value.NumField() {
		name, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
		Expect(value.Field(i).IsZero()).To(BeFalse(),
			"%T has a field %s: give it a value here, so that it is asked who may change it", of, name)
		text, err := json.Marshal(value.Field(i).Interface())
		Expect(err).NotTo(HaveOccurred())
		found[name] = string(text)
	}
	return found
}

// issued stores a key with the given status.
func issued(ctx context.Context, status keysv1alpha1.ApiKeyStatus) *keysv1alpha1.ApiKey {
	GinkgoHelper()
	key := create(ctx)
	before := key.DeepCopy()
	key.Status = status
	Expect(as(controllerAccount).Status().Patch(ctx, key, client.MergeFrom(before))).To(Succeed())
	return key
}

var _ = Describe("The status of an ApiKey", func() {
	const policy, wayOut = "apikey-status", "change spec, and the status follows"

	It("is the controller's to change, with the permissions of config/rbac", func(ctx SpecContext) {
		controller := clientFor(cp.ServiceAccountConfig("apikey-controller"))
		key := create(ctx)
		before := key.DeepCopy()
		key.Status = fullStatus()
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		Expect(controller.Status().Patch(ctx, key, patch)).To(Succeed())
		reread(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(1))

		key.Status = keysv1alpha1.ApiKeyStatus{}
		Expect(controller.Status().Update(ctx, key)).To(Succeed())
	})

	DescribeTable("is nobody else's, whatever RBAC lets them do", func(ctx SpecContext, user string) {
		key := issued(ctx, fullStatus())
		for _, patch := range []client.Patch{
			merge(`{"status":{"scopes":["*"]}}`),
			merge(`{"status":{"usage":null}}`),
			merge(`{"status":null}`),
			client.RawPatch("application/json-patch+json", []byte(`[{"op":"remove","path":"/status/expiresTime"}]`)),
		} {
			Expect(as(user).Status().Patch(ctx, key.DeepCopy(), patch)).To(beRefusedBy(policy, "status: ", wayOut))
		}
		key.Status.Credentials[0].ValidUntil = nil
		Expect(as(user).Status().Update(ctx, key)).To(beRefusedBy(policy, "status: ", wayOut))
	},
		Entry(nil, "kubernetes-admin"),
		Entry(nil, "apikey-controller"),
		Entry("an account of the same name elsewhere", "system:serviceaccount:default:apikey-controller"),
		Entry("another account of the system namespace", "system:serviceaccount:apikey-system:default"),
		Entry("the garbage collector", "system:serviceaccount:kube-system:generic-garbage-collector"),
	)

	It("is dropped where it comes with the object", func(ctx SpecContext) {
		unseen := keysv1alpha1.ApiKeyStatus{ObservedGeneration: -1}
		key := fixture.ApiKey(namespace, fixture.Name("key"), func(k *keysv1alpha1.ApiKey) { k.Status = fullStatus() })
		Expect(author.Create(ctx, key)).To(Succeed())
		Expect(key.Status).To(Equal(unseen))

		key.Status = fullStatus()
		key.Spec.DisplayName = "With a status"
		Expect(author.Update(ctx, key)).To(Succeed())
		Expect(key.Status).To(Equal(unseen))
		Expect(author.Patch(ctx, key, merge(`{"status":{"scopes":["*"]}}`))).To(Succeed())
		reread(ctx, key)
		Expect(key.Status).To(Equal(unseen))
		Expect(key.Spec.DisplayName).To(Equal("With a status"))
	})

	It("can be repaired by an administrator while the policy only warns", func(ctx SpecContext) {
		key := create(ctx)
		repair := func() error {
			return cp.Client.Status().Patch(ctx, key.DeepCopy(), merge(`{"status":{"prefix":"repaired"}}`))
		}
		Expect(repair()).To(beRefusedBy(policy, "status: ", wayOut))
		without(ctx, policy, func() {
			Expect(kubectl(ctx, "patch", "nxkey", key.Name, "--namespace", namespace, "--subresource=status", "--type=merge",
				"--patch", `{"status":{"prefix":"repaired"}}`)).To(
				ContainSubstring("Warning: Validation failed for ValidatingAdmissionPolicy 'apikey-status'"))
		})
		Expect(repair()).To(beRefusedBy(policy, "status: ", wayOut))
		reread(ctx, key)
		Expect(key.Status.Prefix).To(Equal("repaired"))
	})
})

var _ = Describe("The verifier's account, in the status of an ApiKey,", func() {
	const policy, wayOut = "apikey-status", "only status.usage and status.lastUsedTime; leave the rest out of the patch"

	It("writes when the key was last used, with the permissions of config/rbac", func(ctx SpecContext) {
		verifier := clientFor(cp.ServiceAccountConfig("apikey-verifier"))
		key := issued(ctx, fullStatus())
		Expect(verifier.Status().Patch(ctx, key, merge(
			`{"status":{"lastUsedTime":"2026-12-01T00:00:00Z",
				"usage":[{"id":"7Hk2PqZx","lastUsedTime":"2026-12-01T00:00:00Z"}]}}`))).To(Succeed())
		reread(ctx, key)
		Expect(key.Status.LastUsedTime.UTC().Format("2006-01-02")).To(Equal("2026-12-01"))
		Expect(key.Status.Usage).To(HaveLen(1))

		// Server-side apply adds an entry beside that of another manager.
		Expect(verifier.Status().Patch(ctx, key, client.RawPatch("application/apply-patch+yaml", fmt.Appendf(nil,
			`{"apiVersion":"keys.nexuscommerce.io/v1alpha1","kind":"ApiKey","metadata":{"name":%q,"namespace":%q},
			"status":{"usage":[{"id":"anotherI","lastUsedTime":"2026-12-01T00:00:00Z"}]}}`, key.Name, key.Namespace)),
			client.FieldOwner("apikey-verifier-usage"))).To(Succeed())
		reread(ctx, key)
		Expect(key.Status.Usage).To(HaveLen(2))

		empty := create(ctx)
		Expect(verifier.Status().Patch(ctx, empty, merge(`{"status":{"lastUsedTime":"2026-12-01T00:00:00Z"}}`))).To(Succeed())
	})

	It("changes no other field, and none that the API is given later", func(ctx SpecContext) {
		verifier := as(verifierAccount)
		full, empty := issued(ctx, fullStatus()), create(ctx)
		for name, value := range fields(fullStatus()) {
			expected := beRefusedBy(policy, "status."+name+": ", wayOut)
			if slices.Contains(verifiersFields, name) {
				expected = Succeed()
			}
			Expect(verifier.Status().Patch(ctx, full.DeepCopy(), merge(`{"status":{%q:null}}`, name),
				client.DryRunAll)).To(expected, "removing %s", name)
			Expect(verifier.Status().Patch(ctx, empty.DeepCopy(), merge(`{"status":{%q:%s}}`, name, value),
				client.DryRunAll)).To(expected, "adding %s", name)
		}
	})

	DescribeTable("changes nothing within another field", func(ctx SpecContext, field, status string) {
		key := issued(ctx, fullStatus())
		Expect(as(verifierAccount).Status().Patch(ctx, key, merge(`{"status":%s}`, status))).To(beRefusedBy(policy,
			field+": ", wayOut))
	},
		Entry(nil, "status.scopes", `{"scopes":["products:read","products:write"]}`),
		Entry(nil, "status.scopes", `{"scopes":["*"],"lastUsedTime":"2026-12-01T00:00:00Z"}`),
		Entry(nil, "status.conditions", `{"conditions":[]}`),
		Entry(nil, "status.observedGeneration", `{"observedGeneration":2}`),
		Entry(nil, "status.binding", `{"binding":{"name":"another"}}`),
		Entry(nil, "status.expiresTime", `{"expiresTime":"2036-12-01T00:00:00Z"}`),
		Entry(nil, "status.credentials",
			`{"credentials":[{"id":"7Hk2PqZx","digest":"`+digest("b")+`","issuedTime":"2026-12-01T00:00:00Z"}]}`),
		Entry(nil, "status.binding", `{"binding":null,"usage":null,"lastUsedTime":null}`),
	)

	It("is told of every field that it may not change", func(ctx SpecContext) {
		key := issued(ctx, fullStatus())
		patch := merge(`{"status":{"expiresTime":null,"scopes":["*"],"usage":null}}`)
		Expect(as(verifierAccount).Status().Patch(ctx, key, patch)).To(SatisfyAny(
			beRefusedBy(policy, "status.expiresTime, status.scopes: ", wayOut), beRefusedBy(policy,
				"status.scopes, status.expiresTime: ", wayOut)))
	})

	It("doesn't remove it whole", func(ctx SpecContext) {
		key := issued(ctx, fullStatus())
		Expect(as(verifierAccount).Status().Patch(ctx, key.DeepCopy(), merge(`{"status":null}`))).To(beRefusedBy(policy,
			"status.", wayOut))
		key.Status = keysv1alpha1.ApiKeyStatus{}
		Expect(as(verifierAccount).Status().Update(ctx, key)).To(beRefusedBy(policy, "status.", wayOut))
	})

	It("changes nothing beside it: the API server drops that", func(ctx SpecContext) {
		key := issued(ctx, fullStatus())
		before := key.DeepCopy()
		Expect(as(verifierAccount).Status().Patch(ctx, key, merge(`{
			"metadata":{"labels":{"a":"b"},"annotations":{"a":"b"},"finalizers":["example.com/a"],
				"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"a","uid":"a"}]},
			"spec":{"scopes":["*"],"state":"Suspended"},
			"status":{"lastUsedTime":"2026-12-01T00:00:00Z"}}`))).To(Succeed())
		reread(ctx, key)
		Expect(key.Status.LastUsedTime).NotTo(Equal(before.Status.LastUsedTime))
		Expect(key.Spec).To(Equal(before.Spec))
		key.ResourceVersion, key.ManagedFields = before.ResourceVersion, before.ManagedFields
		Expect(key.ObjectMeta).To(Equal(before.ObjectMeta))
	})
})

var _ = Describe("The status of a Tenant", func() {
	It("is the controller's to change, and nobody else's", func(ctx SpecContext) {
		tenant := fixture.Tenant(fixture.Name("tenant"))
		Expect(cp.Client.Create(ctx, tenant)).To(Succeed())
		tenant.Status.ActiveKeys = []keysv1alpha1.ActiveKey{{UID: "a", Namespace: "b", Name: "c"}}
		controller := clientFor(cp.ServiceAccountConfig("apikey-controller"))
		Expect(controller.Status().Update(ctx, tenant)).To(Succeed())

		free := merge(`{"status":{"activeKeys":[]}}`)
		Expect(cp.Client.Status().Patch(ctx, tenant.DeepCopy(), free)).To(
			beRefusedBy("apikey-status", "status: ", "change spec, and the status follows"))
		Expect(as(verifierAccount).Status().Patch(ctx, tenant.DeepCopy(), free)).To(
			beRefusedBy("apikey-status", "status: the verifier's account", "of an ApiKey only"))
	})
})

var _ = Describe("The status of an AccessPolicy", func() {
	It("is the controller's to change, and nobody else's", func(ctx SpecContext) {
		accessPolicy := fixture.Policy(fixture.Name("policy"))
		Expect(cp.Client.Create(ctx, accessPolicy)).To(Succeed())
		DeferCleanup(cp.Client.Delete, accessPolicy)
		accessPolicy.Status.Rules = new(int32(3))
		controller := clientFor(cp.ServiceAccountConfig("apikey-controller"))
		Expect(controller.Status().Update(ctx, accessPolicy)).To(Succeed())

		hide := merge(`{"status":{"conditions":[]}}`)
		Expect(cp.Client.Status().Patch(ctx, accessPolicy.DeepCopy(), hide)).To(
			beRefusedBy("apikey-status", "status: ", "change spec, and the status follows"))
		Expect(as(verifierAccount).Status().Patch(ctx, accessPolicy.DeepCopy(), hide)).To(
			beRefusedBy("apikey-status", "status: the verifier's account", "of an ApiKey only"))
	})
})

var _ = Describe("A status that the API is given later", func() {
	It("is the controller's to change, and nobody else's", func(ctx SpecContext) {
		kubectl(ctx, "create", "--filename", "testdata/later.yaml")
		DeferCleanup(func(ctx SpecContext) { kubectl(ctx, "delete", "--wait", "--filename", "testdata/later.yaml") })
		kubectl(ctx, "wait", "--for=condition=Established", "--timeout=30s", "crd/laters.keys.nexuscommerce.io")

		later := &unstructured.Unstructured{}
		later.SetGroupVersionKind(schema.GroupVersionKind{Group: keysv1alpha1.GroupName, Version: "v1", Kind: "Later"})
		later.SetName("example")
		Eventually(cp.Client.Create).WithArguments(ctx, later).WithTimeout(timeout).Should(Succeed())
		Expect(as(controllerAccount).Status().Patch(ctx, later.DeepCopy(), merge(`{"status":{"usage":"a"}}`))).To(Succeed())
		Expect(as(verifierAccount).Status().Patch(ctx, later.DeepCopy(), merge(`{"status":{"usage":"b"}}`))).To(
			beRefusedBy("apikey-status", "status: the verifier's account", "of an ApiKey only"))
		Expect(cp.Client.Status().Patch(ctx, later.DeepCopy(), merge(`{"status":{"usage":"b"}}`))).To(
			beRefusedBy("apikey-status", "status: ", "change spec, and the status follows"))
	})
})
