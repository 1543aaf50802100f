package system_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// TestLifeOfAKey goes from kubectl apply to a request that passes, and on to one that is refused.
func TestLifeOfAKey(t *testing.T) {
	i := newInstallation(t)
	if err := i.cp.Client.Create(t.Context(), fixture.Policy("nexuscommerce")); err != nil {
		t.Fatal(err)
	}
	key := i.mint(t)
	token, tenant := i.tokenOf(t, key), key.Status.TenantID

	allowed := i.eventually(t, token, tenant, http.MethodGet, "/api/products?page=2", http.StatusOK)
	for header, want := range map[string]string{
		"X-Api-Key-Id":     key.Status.Credentials[0].ID,
		"X-Api-Key-Name":   key.Namespace + "/" + key.Name,
		"X-Api-Key-Scopes": "products:read",
		"X-Api-Key-Tenant": tenant,
		"Cache-Control":    "no-store",
	} {
		if got := allowed.header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}

	for name, test := range map[string]struct {
		token, tenant, method, target string
		status                        int
		challenge                     string
	}{
		"no token":              {"", tenant, "GET", "/api/products", 401, `Bearer realm="your-nexuscommerce.com"`},
		"a typo":                {token[:40] + "-" + token[41:], tenant, "GET", "/api/products", 401, `error="invalid_token"`},
		"another tenant":        {token, fixture.UUID(), "GET", "/api/products", 403, ""},
		"a scope it lacks":      {token, tenant, "POST", "/api/products", 403, `scope="products:write"`},
		"a path nobody knows":   {token, tenant, "GET", "/api/unknown", 403, ""},
		"a path read two ways":  {token, tenant, "GET", "/api/products/..%2forders", 403, ""},
		"a tenant that is none": {token, "acme", "GET", "/api/products", 401, `error="invalid_request"`},
	} {
		got, err := i.ask(t.Context(), test.token, test.tenant, test.method, test.target)
		if err != nil {
			t.Fatal(err)
		}
		if got.status != test.status || !strings.Contains(got.header.Get("WWW-Authenticate"), test.challenge) {
			t.Errorf("%s: %d %v, want %d %s", name, got.status, got.header, test.status, test.challenge)
		}
	}

	// L2: revoking works with the controller down.
	i.controller.Kill()
	update(t, i, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
	committed := time.Now()
	refused := i.eventually(t, token, tenant, http.MethodGet, "/api/products", http.StatusUnauthorized)
	t.Logf("refused %s after the revocation was committed", time.Since(committed))
	if !strings.Contains(refused.body, `"reason":"revoked"`) {
		t.Errorf("body %s", refused.body)
	}
	if code := i.verifier.Terminate(10 * time.Second); code != 0 {
		t.Errorf("the verifier ends with %d:\n%s", code, i.verifier.Log())
	}
}
