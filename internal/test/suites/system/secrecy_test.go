package system_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// TestTokensAreNowhereElse (S2) mints keys in every way that could make a program mention one, uses them, and then
// looks for the tokens and the root key in every object, log, metric and answer. It fails, for one, if an error of
// secretdata quotes the text that was rendered, if a token is logged and token.Token has no method String, or if the
// label of a key's Secret holds the token; if programs log all that --zap-log-level can ask for; and if
// they log what policies warn of.
func TestTokensAreNowhereElse(t *testing.T) {
	i := newInstallationThatLogs(t, "10", fixture.Policy("nexuscommerce"))
	warnOfSecrets(t, i)
	key, token := i.NewKey(t)
	shaped, _ := i.NewKey(t, func(k *keysv1alpha1.ApiKey) {
		k.Spec.Secret = &keysv1alpha1.SecretTemplate{Name: "shaped",
			Data: map[string]keysv1alpha1.Template{"c": "key={{.Token}}"}}
	})
	revoked, _ := i.NewKey(t)
	needles := map[string]string{}
	for name, k := range map[string]*keysv1alpha1.ApiKey{"key": key, "shaped": shaped, "revoked": revoked} {
		whole := i.Token(t, k)
		i.Verifier.AwaitAnswer(t, install.Question{Token: whole, TenantID: k.Status.TenantID}, http.StatusOK, "")
		needles[name] = whole[len(k.Status.Prefix) : len(whole)-6] // The secret part, from which the rest follows.
	}
	var answers strings.Builder
	tenant := key.Status.TenantID
	for _, question := range []install.Question{
		{Token: token, TenantID: tenant, Method: http.MethodPost},
		{Token: token, TenantID: fixture.UUID()},
		{Token: token, TenantID: token},
		{Token: token, TenantID: tenant, Method: token},
		{Token: token, TenantID: tenant, Target: "/" + token},
		{Token: token + "0", TenantID: tenant},
		{Token: token + " " + token, TenantID: tenant},
	} {
		got, err := i.Verifier.Ask(t.Context(), question)
		if err != nil {
			t.Fatal(err)
		}
		if got.Status == http.StatusOK {
			t.Error("a request passes that should not")
		}
		fmt.Fprintln(&answers, got.Status, got.Header, got.Body)
	}
	provoke(t, i, key, shaped, revoked)

	root := &corev1.Secret{}
	root.Namespace, root.Name = controlplane.SystemNamespace, "apikey-root-1"
	i.Get(t, root)
	needles["root key"] = string(root.Data["key"])

	places := allObjects(t, i)
	places["the controller's log"] = i.Controller.Log()
	places["the verifier's log"] = i.Verifier.Log()
	for _, place := range []string{"the controller's log", "the verifier's log"} {
		if strings.Contains(places[place], "Request Body") || strings.Contains(places[place], "Response Body") {
			t.Errorf("%s has what was sent to the API server, in some encoding", place)
		}
	}
	places["the controller's metrics"] = program.Get(t, "http://"+i.Controller.Metrics+"/metrics")
	places["the verifier's metrics"] = program.Get(t, "http://"+i.Verifier.Metrics+"/metrics")
	places["the verifier's answers"] = answers.String()
	for place, content := range places {
		if content == "" {
			t.Errorf("%s: it is empty", place)
		}
		for name, needle := range needles {
			for encoding, encoded := range encodings(needle) {
				if strings.Contains(content, encoded) {
					t.Errorf("the %s is in %s, in %s", name, place, encoding)
				}
			}
		}
	}
}

// provoke makes the controller write about the keys: a template that fails on the token, a Secret that is in the way,
// one that is damaged, and a revocation.
func provoke(t *testing.T, i *install.Installation, key, shaped, revoked *keysv1alpha1.ApiKey) {
	t.Helper()
	inTheWay := &corev1.Secret{}
	inTheWay.Namespace, inTheWay.Name = key.Namespace, "in-the-way"
	i.Create(t, inTheWay)
	install.Update(t, i, shaped, func(k *keysv1alpha1.ApiKey) {
		k.Spec.Secret.Data["c"] = `{{.Token}}{{"\q"}}` // The API server refuses what is more obvious.
	})
	install.Update(t, i, key,
		func(k *keysv1alpha1.ApiKey) { k.Spec.Secret = &keysv1alpha1.SecretTemplate{Name: "in-the-way"} })
	i.Revoke(t, revoked)
	i.Await(t, shaped, keysv1alpha1.ReasonInvalidTemplate)
	i.Await(t, key, keysv1alpha1.ReasonSecretConflict)
	i.Await(t, revoked, keysv1alpha1.ReasonRevoked)
}

// warnOfSecrets has a policy warn about every Secret that is written, and quote it.
func warnOfSecrets(t *testing.T, i *install.Installation) {
	t.Helper()
	const name = "quotes-secrets"
	i.Create(t,
		&admissionregistrationv1.ValidatingAdmissionPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
				MatchConstraints: &admissionregistrationv1.MatchResources{
					ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
						RuleWithOperations: admissionregistrationv1.RuleWithOperations{
							Operations: []admissionregistrationv1.OperationType{
								admissionregistrationv1.Create, admissionregistrationv1.Update,
							},
							Rule: admissionregistrationv1.Rule{
								APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"},
							},
						},
					}},
				},
				Validations: []admissionregistrationv1.Validation{{
					Expression:        "false",
					MessageExpression: "has(object.data) ? object.data.map(k, k + '=' + object.data[k]).join(' ') : 'nothing'",
				}},
			},
		},
		&admissionregistrationv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName:        name,
				ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Warn},
			},
		},
	)
	heard := &warnings{}
	config := rest.CopyConfig(i.Config)
	config.WarningHandler = heard
	warned, err := client.New(config, client.Options{Mapper: i.Client.RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	program.WaitUntil(t, timeout, "a policy that warns", func() error {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"}}
		secret.Data = map[string][]byte{"token": []byte("t")}
		if err := warned.Create(t.Context(), secret, client.DryRunAll); err != nil {
			return err
		}
		if text := heard.text.Load(); text == nil || !strings.Contains(*text, "token=dA==") {
			return fmt.Errorf("it has not warned: %v", text)
		}
		return nil
	})
}

// warnings has the last warning of an API server.
type warnings struct{ text atomic.Pointer[string] }

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) { w.text.Store(&text) }

// allObjects returns every object in the cluster but the Secrets that may hold a token or the root key.
func allObjects(t *testing.T, i *install.Installation) map[string]string {
	t.Helper()
	dynamicClient, err := dynamic.NewForConfig(i.Config)
	if err != nil {
		t.Fatal(err)
	}
	discovered, err := discovery.NewDiscoveryClientForConfig(i.Config)
	if err != nil {
		t.Fatal(err)
	}
	resources, err := discovery.ServerPreferredResources(discovered)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	events := false
	for _, group := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, resources) {
		version, err := schema.ParseGroupVersion(group.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range group.APIResources {
			list, err := dynamicClient.Resource(version.WithResource(resource.Name)).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatalf("listing %s: %v", resource.Name, err)
			}
			for _, object := range list.Items {
				if resource.Name == "secrets" && mayHoldToken(&object) {
					continue
				}
				content, err := json.Marshal(object)
				if err != nil {
					t.Fatal(err)
				}
				found[fmt.Sprintf("%s %s/%s", resource.Name, object.GetNamespace(), object.GetName())] = string(content)
				events = events || resource.Name == "events"
			}
		}
	}
	if !events {
		t.Error("no events were looked at")
	}
	return found
}

// mayHoldToken reports whether a Secret is owned by an ApiKey, or holds the root key.
func mayHoldToken(secret *unstructured.Unstructured) bool {
	for _, owner := range secret.GetOwnerReferences() {
		if owner.Kind == "ApiKey" && owner.Controller != nil && *owner.Controller {
			return true
		}
	}
	return secret.GetLabels()[keysv1alpha1.RootLabel] != ""
}

// encodings returns the forms in which a secret could appear.
func encodings(needle string) map[string]string {
	forms := map[string]string{"plain text": needle, "hexadecimal": hex.EncodeToString([]byte(needle))}
	// Base64 of a longer text that the needle is in: at each of the three offsets, without the characters at the ends
	// that the rest of the text decides too.
	for offset := range 3 {
		padded := base64.StdEncoding.EncodeToString(append(bytes.Repeat([]byte{0}, offset), needle...))
		forms[fmt.Sprintf("base64 at offset %d", offset)] = padded[4 : len(padded)-4]
	}
	return forms
}
