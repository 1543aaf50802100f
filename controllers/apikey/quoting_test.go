package apikey_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// onSecrets is everything that can be done to a Secret.
var onSecrets = admissionregistrationv1.RuleWithOperations{
	Operations: []admissionregistrationv1.OperationType{
		admissionregistrationv1.Create, admissionregistrationv1.Update, admissionregistrationv1.Delete,
	},
	Rule: admissionregistrationv1.Rule{
		APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"},
	},
}

func inNamespace(namespace string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}}
}

// quotingPolicy has a policy refuse what is done to a namespace's Secrets, and quote the token.
func quotingPolicy(ctx context.Context, namespace string) {
	GinkgoHelper()
	name := fixture.Name("quoting")
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				NamespaceSelector: inNamespace(namespace),
				ResourceRules:     []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: onSecrets}},
			},
			Validations: []admissionregistrationv1.Validation{{
				Expression:        "false",
				MessageExpression: "'it holds ' + (object == null ? oldObject : object).data.token",
			}},
		},
	}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        name,
			ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}
	Expect(cp.Client.Create(ctx, policy)).To(Succeed())
	Expect(cp.Client.Create(ctx, binding)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(cp.Client.Delete(ctx, binding)).To(Succeed())
		Expect(cp.Client.Delete(ctx, policy)).To(Succeed())
	})
}

// quotingWebhook has a webhook fail for whatever is done to a namespace's Secrets, with what it was sent as its answer.
// It returns how often it was called.
func quotingWebhook(ctx context.Context, namespace string) *atomic.Int64 {
	GinkgoHelper()
	calls := &atomic.Int64{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		var review struct {
			Request struct{ Object, OldObject json.RawMessage }
		}
		content, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(content, &review)
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write(append(review.Request.Object, review.Request.OldObject...))
	}))
	DeferCleanup(server.Close)
	none, url := admissionregistrationv1.SideEffectClassNone, server.URL+"/"
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: fixture.Name("quoting")},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "quoting.example.com", NamespaceSelector: inNamespace(namespace), SideEffects: &none,
			AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL:      &url,
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			Rules: []admissionregistrationv1.RuleWithOperations{onSecrets},
		}},
	}
	Expect(cp.Client.Create(ctx, configuration)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(cp.Client.Delete(ctx, configuration)).To(Succeed()) })
	return calls
}

var _ = Describe("A policy or a webhook that quotes the Secret", func() {
	// They fail when Store doesn't redact what the API server answers.
	var (
		env                        *environment
		creating, updating, ending *keysv1alpha1.ApiKey
		tokens                     []string
	)
	// One key's Secret is to be created, another's changed, and that of a third deleted.
	BeforeEach(func(ctx SpecContext) {
		env = newEnvironment(ctx)
		creating, updating, ending = env.create(ctx), env.create(ctx), env.create(ctx)
		tokens = nil
		for _, key := range []*keysv1alpha1.ApiKey{creating, updating, ending} {
			tokens = append(tokens, string(secretOf(ctx, key).Data["token"]))
		}
		Expect(cp.Client.Delete(ctx, secretOf(ctx, creating))).To(Succeed())
		read(ctx, updating)
		updating.Spec.Secret = &keysv1alpha1.SecretTemplate{Labels: map[string]keysv1alpha1.LabelValue{"team": "a"}}
		Expect(cp.Client.Update(ctx, updating)).To(Succeed())
		read(ctx, ending)
		ending.Spec.State = keysv1alpha1.ApiKeyRevoked
		Expect(cp.Client.Update(ctx, ending)).To(Succeed())
	})
	// inForce waits until what is done to Secrets is refused.
	inForce := func(ctx context.Context, part string) {
		GinkgoHelper()
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace.Name, Name: "a"},
			Data:       map[string][]byte{"token": []byte("t")},
		}
		Eventually(func() error { return cp.Client.Create(ctx, secret, client.DryRunAll) }).Should(
			MatchError(ContainSubstring(part)))
	}
	// say returns what the controller says of a key: its error, which is logged, and the conditions.
	say := func(ctx context.Context, key *keysv1alpha1.ApiKey) string {
		GinkgoHelper()
		read(ctx, key)
		_, err := env.controller.Reconcile(ctx, key.DeepCopy())
		read(ctx, key)
		said := message(key, "Ready") + message(key, "Published")
		if err != nil {
			said += err.Error()
		}
		for len(env.events.Events) > 0 {
			said += <-env.events.Events
		}
		return said
	}
	expectNoToken := func(said string) {
		GinkgoHelper()
		for _, token := range tokens {
			Expect(strings.Contains(said, token)).To(BeFalse(), "a token is told")
			Expect(strings.Contains(said, base64.StdEncoding.EncodeToString([]byte(token)))).To(BeFalse(), "a token is told")
		}
	}

	It("is named, and its words are not repeated", func(ctx SpecContext) {
		quotingPolicy(ctx, env.namespace.Name)
		inForce(ctx, "it holds")
		for _, key := range []*keysv1alpha1.ApiKey{creating, updating, ending} {
			said := say(ctx, key)
			Expect(said).To(ContainSubstring("denied request"))
			expectNoToken(said)
		}
	})

	It("is named, and its answer is not repeated, where it fails", func(ctx SpecContext) {
		calls := quotingWebhook(ctx, env.namespace.Name)
		inForce(ctx, "failed calling webhook")
		for _, key := range []*keysv1alpha1.ApiKey{creating, updating, ending} {
			before := calls.Load()
			said := say(ctx, key)
			Expect(said).To(ContainSubstring(`failed calling webhook "quoting.example.com"`))
			expectNoToken(said)
			Expect(calls.Load()).To(BeNumerically(">", before))
		}
	})
})
