package policy_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

var _ = Describe("Every policy", func() {
	It("is about this project's kinds only, is in effect, and refuses what it can't evaluate", func(ctx SpecContext) {
		files, err := filepath.Glob(folder("policy", "*.yaml"))
		Expect(err).NotTo(HaveOccurred())
		var policies admissionregistrationv1.ValidatingAdmissionPolicyList
		Expect(cp.Client.List(ctx, &policies)).To(Succeed())
		Expect(policies.Items).To(HaveLen(len(files)-1), "a policy a file")
		for _, policy := range policies.Items {
			Expect(policy.Spec.FailurePolicy).To(HaveValue(Equal(admissionregistrationv1.Fail)), policy.Name)
			for _, rule := range policy.Spec.MatchConstraints.ResourceRules {
				if policy.Name == "apikey-installation" { // About the project's own bindings.
					Expect(rule.ResourceNames).To(HaveEach(HavePrefix("apikey-")))
					Expect(rule.ResourceNames).To(HaveLen(4))
					continue
				}
				Expect(rule.APIGroups).To(ConsistOf(keysv1alpha1.GroupName), policy.Name)
				Expect(rule.APIVersions).To(ConsistOf("*"), policy.Name)
			}
			for _, validation := range policy.Spec.Validations {
				Expect(validation.Reason).To(HaveValue(Equal(metav1.StatusReasonForbidden)), policy.Name)
				Expect(validation.Message).NotTo(BeEmpty(), policy.Name)
			}
			binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
				ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
			}
			reread(ctx, binding)
			Expect(binding.Spec.PolicyName).To(Equal(policy.Name))
			Expect(binding.Spec.ValidationActions).To(ConsistOf(admissionregistrationv1.Deny))
			Expect(binding.Spec.MatchResources).To(BeNil())
		}
	})

	It("names accounts and a canary that are installed", func(ctx SpecContext) {
		for _, name := range []string{"apikey-controller", "apikey-verifier"} {
			reread(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: name}})
		}
		Expect(cp.ServiceAccountConfig("apikey-controller").Impersonate.UserName).To(Equal(controllerAccount))
		Expect(cp.ServiceAccountConfig("apikey-verifier").Impersonate.UserName).To(Equal(verifierAccount))
		Expect(canaryName).To(Equal(keysv1alpha1.CanaryName))
		files, err := filepath.Glob(folder("policy", "*.yaml"))
		Expect(err).NotTo(HaveOccurred())
		var text strings.Builder
		for _, file := range files {
			content, err := os.ReadFile(file)
			Expect(err).NotTo(HaveOccurred())
			text.Write(content)
		}
		for _, name := range []string{":apikey-verifier", keysv1alpha1.CanaryLabel, keysv1alpha1.CanaryName,
			keysv1alpha1.ProbeAnnotationPrefix, keysv1alpha1.RotateAtAnnotation} {
			Expect(text.String()).To(ContainSubstring("'" + name + "'"))
		}
		Expect(text.String()).NotTo(ContainSubstring(systemNamespace), "a namespace is a parameter")
	})
})

var _ = Describe("What the cluster itself does to keys", func() {
	// owned is a key with a Secret that is the key's.
	owned := func(ctx context.Context, key *keysv1alpha1.ApiKey) *corev1.Secret {
		GinkgoHelper()
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		Expect(controllerutil.SetControllerReference(key, secret, controlplane.Scheme())).To(Succeed())
		Expect(cp.Client.Create(ctx, secret)).To(Succeed())
		return secret
	}
	gone := func(ctx context.Context, object client.Object) {
		GinkgoHelper()
		Eventually(func(ctx context.Context) error {
			return cp.Client.Get(ctx, client.ObjectKeyFromObject(object), object)
		}).WithContext(ctx).WithTimeout(2 * timeout).Should(MatchError(apierrors.IsNotFound, "gone"))
	}
	// inKubernetes is one of Kubernetes' own accounts, with its own permissions.
	inKubernetes := func(name string) client.Client {
		GinkgoHelper()
		return clientFor(impersonating(rest.ImpersonationConfig{
			UserName: "system:serviceaccount:kube-system:" + name,
			Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"},
		}))
	}

	It("passes: garbage collection", func(ctx SpecContext) {
		key := create(ctx, state("Suspended"))
		secret := owned(ctx, key)
		collector := inKubernetes("generic-garbage-collector")
		Expect(collector.Patch(ctx, key.DeepCopy(), merge(`{"metadata":{"finalizers":["foregroundDeletion"]}}`),
			client.DryRunAll)).To(Succeed())
		Expect(collector.Patch(ctx, canary(ctx), merge(`{"metadata":{"finalizers":["orphan"]}}`),
			client.DryRunAll)).To(Succeed())
		Expect(editor.Delete(ctx, key)).To(MatchError(apierrors.IsForbidden, "by RBAC"))
		Expect(author.Delete(ctx, key, client.PropagationPolicy(metav1.DeletePropagationForeground))).To(Succeed())
		gone(ctx, key)
		gone(ctx, secret)
	})

	It("passes: a namespace that is deleted with its keys", func(ctx SpecContext) {
		place := fixture.Namespace(fixture.Name("ns"), "nobody")
		Expect(cp.Client.Create(ctx, place)).To(Succeed())
		for _, change := range []mutation{nothing, state("Suspended"), state("Revoked")} {
			key := fixture.ApiKey(place.Name, fixture.Name("key"), change)
			Expect(cp.Client.Create(ctx, key)).To(Succeed())
			owned(ctx, key)
		}
		Expect(inKubernetes("namespace-controller").DeleteAllOf(ctx, &keysv1alpha1.ApiKey{},
			client.InNamespace(systemNamespace), client.DryRunAll)).To(Succeed())
		Expect(cp.Client.Delete(ctx, place)).To(Succeed())
		gone(ctx, place)
	})

	It("passes: a pipeline that applies keys, as who may create them", func(ctx SpecContext) {
		apply := func(who client.Client, spec string) error {
			key := fixture.ApiKey(namespace, "applied")
			return who.Patch(ctx, key, client.RawPatch("application/apply-patch+yaml",
				[]byte(`{"apiVersion":"keys.nexuscommerce.io/v1alpha1","kind":"ApiKey",
				"metadata":{"name":"applied","namespace":"`+namespace+`"},"spec":`+spec+`}`)),
				client.FieldOwner("pipeline"))
		}
		Expect(apply(author, `{"scopes":["products:read"],"expiry":"30d"}`)).To(Succeed())
		Expect(apply(author, `{"scopes":["*"],"rotation":{"every":"7d"}}`)).To(Succeed())
		Expect(apply(editor, `{"scopes":["*"],"rotation":{"every":"30d"}}`)).To(beRefusedBy("apikey-widening",
			"spec.rotation: ", "ask somebody"))
		Expect(apply(editor, `{"scopes":["products:read"],"rotation":{"every":"7d"}}`)).To(Succeed())
	})

	It("passes: the same again, by whoever", func(ctx SpecContext) {
		key := create(ctx, state("Suspended"))
		Expect(editor.Update(ctx, key)).To(Succeed())
		Expect(editor.Update(ctx, canary(ctx))).To(MatchError(apierrors.IsForbidden, "by RBAC"))
		Expect(cp.Client.Update(ctx, canary(ctx))).To(Succeed())
	})

	// Whoever applies an object and takes back the last label or annotation leaves a null, which is neither a map nor
	// nothing.
	It("passes: labels and annotations that are null", func(ctx SpecContext) {
		key := create(ctx, rotateAt("now"))
		Expect(editor.Patch(ctx, key, merge(`{"metadata":{"annotations":null}}`))).To(Succeed())
		apply := func(metadata, status string) error {
			return as("pipeline").Patch(ctx, key.DeepCopy(), client.RawPatch("application/apply-patch+yaml", fmt.Appendf(nil,
				`{"apiVersion":"keys.nexuscommerce.io/v1alpha1","kind":"ApiKey",
				"metadata":{"name":%q,"namespace":%q,%s},"spec":%s}`,
				key.Name, key.Namespace, metadata, status)), client.FieldOwner("pipeline"), client.ForceOwnership)
		}
		for _, spec := range []string{`{"scopes":["products:read"]}`, `{"scopes":["products:read"],"state":"Suspended"}`} {
			Expect(apply(`"labels":{"a":"b"},"annotations":{"keys.nexuscommerce.io/rotateAt":"now"}`, spec)).To(Succeed())
			Expect(apply(`"labels":null,"annotations":null`, spec)).To(Succeed())
			Expect(apply(`"labels":null,"annotations":null`, spec)).To(Succeed())
		}
		Expect(as(verifierAccount).Status().Patch(ctx, key.DeepCopy(),
			merge(`{"status":{"lastUsedTime":"2026-12-01T00:00:00Z"}}`))).To(Succeed())
	})

	It("passes: the last verifier that stops, and the first that starts", func(ctx SpecContext) {
		Expect(cp.Client.Patch(ctx, canary(ctx), merge(`{"metadata":{"annotations":null}}`))).To(Succeed())
		for range 2 {
			Expect(probe(ctx, as(verifierAccount), "only", "null")).To(Succeed())
			Expect(probe(ctx, as(verifierAccount), "only", probeOf("only", "nonce"))).To(Succeed())
		}
		Expect(probe(ctx, as(verifierAccount), "only", "null")).To(Succeed())
		Expect(canary(ctx).Annotations).To(BeEmpty())
		for _, annotations := range []string{`{"example.com/note":"hello"}`, "null"} {
			Expect(probe(ctx, cp.Client, "somebody-else", annotations)).To(Succeed())
		}
	})
})
