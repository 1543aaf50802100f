package system_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// TestTokensAreNowhereElse (S2) mints keys in every way that could make somebody mention one, uses them, and then looks
// for the tokens and the root key in every object, log, metric and answer there is. It fails, for one, when
// secretdata's refuse quotes what has been rendered, when String of
// token.Token is removed and a token is logged, or when the label of a key's Secret holds it.
func TestTokensAreNowhereElse(t *testing.T) {
	i := newInstallation(t)
	if err := i.cp.Client.Create(t.Context(), fixture.Policy("nexuscommerce")); err != nil {
		t.Fatal(err)
	}
	key := i.mint(t)
	shaped := i.mint(t, func(k *keysv1alpha1.ApiKey) {
		k.Spec.Secret = &keysv1alpha1.SecretTemplate{Name: "shaped", Data: map[string]keysv1alpha1.Template{"c": "key={{.Token}}"}}
	})
	revoked := i.mint(t)
	needles := map[string]string{}
	for name, k := range map[string]*keysv1alpha1.ApiKey{"key": key, "shaped": shaped, "revoked": revoked} {
		token := i.tokenOf(t, k)
		i.eventually(t, token, k.Status.TenantID, http.MethodGet, "/api/products", http.StatusOK)
		// The secret part alone would do; whoever has that has the token.
		needles[name] = token[len(k.Status.Prefix) : len(token)-6]
	}
	token := i.tokenOf(t, key)
	var answers strings.Builder
	for _, attempt := range []struct{ token, tenant, method, target string }{
		{token, key.Status.TenantID, "POST", "/api/products"},
		{token, fixture.UUID(), "GET", "/api/products"},
		{token, token, "GET", "/api/products"},
		{token, key.Status.TenantID, token, "/api/products"},
		{token, key.Status.TenantID, "GET", "/" + token},
		{token + "0", key.Status.TenantID, "GET", "/api/products"},
		{token + " " + token, key.Status.TenantID, "GET", "/api/products"},
	} {
		got, err := i.ask(t.Context(), attempt.token, attempt.tenant, attempt.method, attempt.target)
		if err != nil {
			t.Fatal(err)
		}
		if got.status == http.StatusOK {
			t.Error("a request passes that should not")
		}
		fmt.Fprintln(&answers, got.status, got.header, got.body)
	}
	provoke(t, i, key, shaped, revoked)

	root := &corev1.Secret{}
	if err := i.cp.Client.Get(t.Context(), client.ObjectKey{Namespace: controlplane.SystemNamespace, Name: "apikey-root-1"}, root); err != nil {
		t.Fatal(err)
	}
	needles["root key"] = string(root.Data["key"])

	places := objects(t, i)
	places["the controller's log"] = i.controller.Log()
	places["the verifier's log"] = i.verifier.Log()
	places["the controller's metrics"] = program.Get(t, "http://"+i.controllerMetrics+"/metrics")
	places["the verifier's metrics"] = program.Get(t, "http://"+i.verifierMetrics+"/metrics")
	places["the verifier's answers"] = answers.String()
	for place, content := range places {
		if content == "" {
			t.Errorf("%s: nothing there to look at", place)
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

// provoke makes the controller write about the keys: a template that fails on the token, a Secret that is in the way, one
// that is damaged, and a revocation.
func provoke(t *testing.T, i *installation, key, shaped, revoked *keysv1alpha1.ApiKey) {
	t.Helper()
	inTheWay := &corev1.Secret{}
	inTheWay.Namespace, inTheWay.Name = key.Namespace, "in-the-way"
	if err := i.cp.Client.Create(t.Context(), inTheWay); err != nil {
		t.Fatal(err)
	}
	update(t, i, shaped, func(k *keysv1alpha1.ApiKey) {
		k.Spec.Secret.Data["c"] = `{{.Token}}{{"\q"}}` // The API server refuses what is more obvious.
	})
	update(t, i, key, func(k *keysv1alpha1.ApiKey) { k.Spec.Secret = &keysv1alpha1.SecretTemplate{Name: "in-the-way"} })
	update(t, i, revoked, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
	i.await(t, shaped, keysv1alpha1.ReasonInvalidTemplate)
	i.await(t, key, keysv1alpha1.ReasonSecretConflict)
	i.await(t, revoked, keysv1alpha1.ReasonRevoked)
}

// objects returns every object in the cluster but the Secrets that may hold a token or the root key.
func objects(t *testing.T, i *installation) map[string]string {
	t.Helper()
	dynamicClient, err := dynamic.NewForConfig(i.cp.Config)
	if err != nil {
		t.Fatal(err)
	}
	discovered, err := discovery.NewDiscoveryClientForConfig(i.cp.Config)
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

// mayHoldToken says whether a Secret is owned by an ApiKey, or holds the root key.
func mayHoldToken(secret *unstructured.Unstructured) bool {
	for _, owner := range secret.GetOwnerReferences() {
		if owner.Kind == "ApiKey" && owner.Controller != nil && *owner.Controller {
			return true
		}
	}
	return secret.GetLabels()[keysv1alpha1.RootLabel] != ""
}

// encodings are how a secret could appear.
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
