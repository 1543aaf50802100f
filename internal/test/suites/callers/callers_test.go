// Package callers_test asks a real verifier the questions that proxies don't ask: a real kube-apiserver authenticates
// users by it, services ask it about tokens, and people ask it why a key is refused. The controller and the verifier
// have the rights of config/rbac and no others.
package callers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const timeout = time.Minute

// audience is the API server's own, and testAudience the one that verifier-1 answers reviews for.
const audience, testAudience = "https://kubernetes.default.svc", "test"

// testbed is an installation whose API server asks a verifier who its users are.
type testbed struct {
	*install.Installation

	tenant             *keysv1alpha1.Tenant
	namespace, another *corev1.Namespace
}

func newTestbed(t *testing.T) *testbed {
	t.Helper()
	webhook := filepath.Join(t.TempDir(), "webhook.yaml")
	// As docs/introspection.md has it: over TLS, by the authority and by the name.
	ca, reviews := authority.New(t), program.FreeAddress(t)
	config := fmt.Sprintf(`{apiVersion: v1, kind: Config,
		clusters: [{name: verifier, cluster: {
			server: "https://%s/token/review", certificate-authority: %s, tls-server-name: %s}}],
		contexts: [{name: verifier, context: {cluster: verifier}}], current-context: verifier}`,
		reviews, ca.File, authority.VerifierName)
	if err := os.WriteFile(webhook, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &testbed{Installation: install.New(t, install.Options{
		ControlPlane: controlplane.Options{APIServerArgs: map[string]string{
			"authentication-token-webhook-config-file": webhook,
			"authentication-token-webhook-version":     "v1",
			"authentication-token-webhook-cache-ttl":   "1s",
			"api-audiences":                            audience,
		}},
		Manifests:  []string{"default"},
		Objects:    []client.Object{fixture.Policy("shop")},
		Controller: &install.ControllerOptions{},
		Verifier:   &install.VerifierOptions{Flags: []string{debugLog, "--review-audiences=" + testAudience}},
	})}
	b.StartVerifier(t, install.VerifierOptions{
		Name: "verifier-0", TLS: install.SignedBy(t, ca, authority.VerifierName),
		Addresses: install.Addresses{HTTP: reviews}, Flags: []string{debugLog, "--review-audiences=" + audience},
	})
	b.tenant, b.namespace = b.NewTenant(t)
	_, b.another = b.NewTenant(t)
	return b
}

// debugLog makes a verifier log at the most detailed level.
const debugLog = "--zap-log-level=5"

// key creates a key and returns it with its token, once the Secret holds that.
func (b *testbed) key(t *testing.T, namespace string, change ...func(*keysv1alpha1.ApiKey)) (*keysv1alpha1.ApiKey,
	string) {
	t.Helper()
	key := fixture.ApiKey(namespace, fixture.Name("key"), change...)
	b.Create(t, key)
	secret := &corev1.Secret{}
	program.WaitUntil(t, timeout, "a token", func() error {
		return b.Client.Get(t.Context(), client.ObjectKeyFromObject(key), secret)
	})
	if err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(key), key); err != nil {
		t.Fatal(err)
	}
	return key, string(secret.Data["token"])
}

// as returns a client that reaches the API server as the bearer of a token.
func (b *testbed) as(t *testing.T, token string) client.Client {
	t.Helper()
	config := rest.AnonymousClientConfig(b.Config)
	config.BearerToken = token
	c, err := client.New(config, client.Options{Scheme: controlplane.Scheme(), Mapper: b.Client.RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// account creates a service account, binds a ClusterRole to it unless that is empty, and returns a token for it.
func (b *testbed) account(t *testing.T, role string, audiences ...string) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fixture.Name("account")}}
	b.Create(t, account)
	if role != "" {
		b.Create(t, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: account.Name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
		})
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	if err := b.Client.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// call makes a request to the verifier, as the bearer of a token if there is one.
func call(ctx context.Context, method, address, token string, form url.Values) (int, map[string]any, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, err
	}
	var content map[string]any
	_ = json.Unmarshal(body, &content) // Not every answer is JSON.
	return response.StatusCode, content, nil
}

func TestCallers(t *testing.T) {
	b := newTestbed(t)
	var tokens []string
	t.Run("a key is a user of the cluster", func(t *testing.T) { tokens = append(tokens, b.usersOfTheCluster(t)...) })
	t.Run("a service asks about tokens", func(t *testing.T) { tokens = append(tokens, b.introspection(t)...) })
	t.Run("another tenant registers a token", func(t *testing.T) { tokens = append(tokens, b.squatters(t)...) })
	t.Run("a monitoring system reads metrics", func(t *testing.T) { b.monitoring(t) })
	t.Run("a person asks why", func(t *testing.T) { tokens = append(tokens, b.explanations(t)...) })
	for _, token := range tokens {
		if token == "" || strings.Contains(b.Verifier.Log(), token) {
			t.Error("the verifier's log holds a token, or a test returned none")
		}
	}
}

func (b *testbed) usersOfTheCluster(t *testing.T) []string {
	group := "nexuscommerce:tenant:" + b.tenant.Spec.ID
	b.Create(t,
		&rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace.Name, Name: "reads-settings"},
			Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"},
				Verbs: []string{"list"}}},
		},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace.Name, Name: "reads-settings"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reads-settings"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group}},
		})
	key, token := b.key(t, b.namespace.Name)
	user := b.as(t, token)
	list := func(c client.Client) error {
		return c.List(t.Context(), &corev1.ConfigMapList{}, client.InNamespace(b.namespace.Name))
	}
	program.WaitUntil(t, timeout, "the tenant's group may list", func() error { return list(user) })

	self := &authenticationv1.SelfSubjectReview{}
	if err := user.Create(t.Context(), self); err != nil {
		t.Fatal(err)
	}
	who := self.Status.UserInfo
	if who.Username != group+":key:"+key.Namespace+"/"+key.Name {
		t.Errorf("the user is %s", who.Username)
	}
	wanted := []string{"nexuscommerce:keys", group, group + ":scope:products:read", "system:authenticated"}
	slices.Sort(who.Groups)
	if !slices.Equal(who.Groups, wanted) {
		t.Errorf("its groups are %v", who.Groups)
	}
	if got := who.Extra["keys.nexuscommerce.io/credential-id"]; len(got) != 1 || got[0] != key.Status.Credentials[0].ID {
		t.Errorf("extra %v", who.Extra)
	}
	if err := user.List(t.Context(), &corev1.SecretList{},
		client.InNamespace(b.namespace.Name)); !apierrors.IsForbidden(err) {
		t.Errorf("what is bound to nobody: %v", err)
	}

	_, foreign := b.key(t, b.another.Name)
	if err := list(b.as(t, foreign)); !apierrors.IsForbidden(err) {
		t.Errorf("another tenant's key: %v", err)
	}
	_, limited := b.key(t, b.namespace.Name,
		func(k *keysv1alpha1.ApiKey) { k.Spec.AllowedCIDRs = []keysv1alpha1.CIDR{"127.0.0.0/8"} })
	junk := token[:len(token)-1] + "!"
	for name, bad := range map[string]string{"a key with an allowlist": limited, "junk": junk} {
		if err := list(b.as(t, bad)); !apierrors.IsUnauthorized(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Whoever asks a verifier that lists another audience learns nothing of it.
	question := fmt.Sprintf(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1",
		"spec":{"token":%q,"audiences":[%q]}}`, token, audience)
	response, err := http.Post("http://"+b.Verifier.HTTP+"/token/review", "application/json", strings.NewReader(question))
	if err != nil {
		t.Fatal(err)
	}
	told, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || strings.Contains(string(told), b.tenant.Spec.ID) ||
		!strings.Contains(string(told), "--review-audiences") {
		t.Errorf("%s, %v", told, err)
	}
	// A review for another audience than the API server's own authenticates no key.
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token,
		Audiences: []string{"vault"}}}
	if err := b.Client.Create(t.Context(), review); err != nil || review.Status.Authenticated {
		t.Errorf("for another audience: authenticated is %t, %v", review.Status.Authenticated, err)
	}

	// kube-apiserver caches a token's user for 10 seconds, whatever the webhook's own cache does.
	b.Patch(t, key, `{"spec":{"state":"Revoked"}}`)
	program.WaitUntil(t, timeout, "a refusal after revocation", func() error {
		if err := list(user); !apierrors.IsUnauthorized(err) {
			return fmt.Errorf("answered %w", err)
		}
		return nil
	})
	return []string{token, foreign, limited, junk}
}

func (b *testbed) introspection(t *testing.T) []string {
	key, token := b.key(t, b.namespace.Name, func(k *keysv1alpha1.ApiKey) {
		k.Spec.Scopes = []keysv1alpha1.Scope{"products:read", "orders:read"}
	})
	service := b.account(t, "apikey-introspect")
	about := func(caller, token string) (int, map[string]any) {
		t.Helper()
		status, answer, err := call(t.Context(), http.MethodPost, b.Verifier.HTTP+"/token/introspect", caller,
			url.Values{"token": {token}})
		if err != nil {
			t.Fatal(err)
		}
		return status, answer
	}
	var answer map[string]any
	program.WaitUntil(t, timeout, "the ClusterRole to be in force", func() error {
		status, content, err := call(t.Context(), http.MethodPost, b.Verifier.HTTP+"/token/introspect", service,
			url.Values{"token": {token}})
		if answer = content; status != http.StatusOK {
			return fmt.Errorf("status %d, %v, %w", status, content, err)
		}
		return nil
	})
	if answer["active"] != true || answer["scope"] != "products:read orders:read" ||
		answer["client_id"] != key.Namespace+"/"+key.Name ||
		answer["tenant_id"] != b.tenant.Spec.ID || answer["jti"] != key.Status.Credentials[0].ID ||
		answer["iat"] != float64(key.Status.Credentials[0].IssuedTime.Unix()) ||
		answer["exp"] != float64(key.Status.ExpiresTime.Unix()) {
		t.Errorf("%v", answer)
	}
	refused := map[string]struct {
		caller string
		status int
	}{
		"nobody":                             {"", http.StatusUnauthorized},
		"an account that may not":            {b.account(t, ""), http.StatusForbidden},
		"an account that may do other":       {b.account(t, "apikey-explain"), http.StatusForbidden},
		"a token for another audience":       {b.account(t, "apikey-introspect", "vault"), http.StatusUnauthorized},
		"the key itself, which is nobody's":  {token, http.StatusForbidden},
		"something that is nobody's account": {"x", http.StatusUnauthorized},
	}
	tokens := []string{token, service}
	for name, test := range refused {
		if status, answer := about(test.caller, token); status != test.status || answer["active"] != nil {
			t.Errorf("%s: status %d, %v", name, status, answer)
		}
		if len(test.caller) > 1 {
			tokens = append(tokens, test.caller)
		}
	}
	if status, answer := about(service, "x"); status != http.StatusOK || len(answer) != 1 || answer["active"] != false {
		t.Errorf("no token: status %d, %v", status, answer)
	}
	meanwhile := b.audiences(t, token)
	b.Patch(t, key, `{"spec":{"state":"Suspended"}}`)
	program.WaitUntil(t, timeout, "an inactive token", func() error {
		if status, answer := about(service, token); status != http.StatusOK || len(answer) != 1 || answer["active"] != false {
			return fmt.Errorf("status %d, %v", status, answer)
		}
		return nil
	})
	return append(tokens, meanwhile...)
}

// audiences checks a verifier with an audience of its own: it does not accept an account's token for the API server.
func (b *testbed) audiences(t *testing.T, token string) []string {
	verifier := b.StartVerifier(t,
		install.VerifierOptions{Flags: []string{debugLog, "--caller-audiences=apikey-verifier"}})
	defer verifier.Terminate(timeout) // Revocations wait for a verifier that is killed.
	meant, other := b.account(t, "apikey-introspect", "apikey-verifier"), b.account(t, "apikey-introspect")
	for caller, want := range map[string]int{meant: http.StatusOK, other: http.StatusUnauthorized} {
		program.WaitUntil(t, timeout, http.StatusText(want), func() error {
			status, answer, err := call(t.Context(), http.MethodPost, verifier.HTTP+"/token/introspect", caller,
				url.Values{"token": {token}})
			if err != nil || status != want {
				return fmt.Errorf("status %d, %v, %w", status, answer, err)
			}
			return nil
		})
	}
	return []string{meant, other}
}

func (b *testbed) explanations(t *testing.T) []string {
	key, token := b.key(t, b.namespace.Name)
	person := b.account(t, "apikey-explain")
	question := url.Values{"key": {key.Namespace + "/" + key.Name}, "host": {fixture.Host}, "method": {"POST"},
		"path": {"/api/products"}}.Encode()
	var answer map[string]any
	program.WaitUntil(t, timeout, "the ClusterRole to be in force", func() error {
		status, content, err := call(t.Context(), http.MethodGet, b.Verifier.Metrics+"/debug/explain?"+question, person, nil)
		if answer = content; status != http.StatusOK {
			return fmt.Errorf("status %d, %v, %w", status, content, err)
		}
		return nil
	})
	told := fmt.Sprint(answer)
	for _, part := range []string{"outcome:forbidden", "reason:insufficient_scope", "missing:[products:write]",
		"policy:shop", "rule:1"} {
		if !strings.Contains(told, part) {
			t.Errorf("no %s in %s", part, told)
		}
	}
	for name, test := range map[string]struct {
		address, caller string
		status          int
	}{
		"nobody":                    {b.Verifier.Metrics, "", http.StatusUnauthorized},
		"an account that may not":   {b.Verifier.Metrics, b.account(t, "apikey-introspect"), http.StatusForbidden},
		"the key itself":            {b.Verifier.Metrics, token, http.StatusForbidden},
		"where proxies ask":         {b.Verifier.HTTP, person, http.StatusNotFound},
		"where probes ask":          {b.Verifier.Health, person, http.StatusNotFound},
		"where proxies ask, nobody": {b.Verifier.HTTP, "", http.StatusNotFound},
	} {
		if status, answer, err := call(t.Context(), http.MethodGet, test.address+"/debug/explain?"+question, test.caller,
			nil); err != nil || status != test.status {
			t.Errorf("%s: status %d, %v, %v", name, status, answer, err)
		}
	}
	return []string{token, person}
}
