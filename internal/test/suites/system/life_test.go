package system_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// TestLifeOfAKey goes from kubectl apply to a request that passes, and on to one that is refused.
func TestLifeOfAKey(t *testing.T) {
	i := newInstallationWithPolicy(t)
	key, token := i.NewKey(t)
	tenant := key.Status.TenantID

	allowed := i.Verifier.AwaitAnswer(t, install.Question{Token: token, TenantID: tenant, Target: "/api/products?page=2"},
		http.StatusOK, "")
	for header, want := range map[string]string{
		"X-Api-Key-Id":     key.Status.Credentials[0].ID,
		"X-Api-Key-Name":   key.Namespace + "/" + key.Name,
		"X-Api-Key-Scopes": "products:read",
		"X-Api-Key-Tenant": tenant,
		"Cache-Control":    "no-store",
	} {
		if got := allowed.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}

	for name, test := range map[string]struct {
		token, tenant, method, target string
		status                        int
		challenge                     string
	}{
		"no token": {"", tenant, "GET", "/api/products", 401, `Bearer realm="your-nexuscommerce.com"`},
		"a typo": {token[:40] + "-" + token[41:], tenant, "GET", "/api/products", 401,
			`error="invalid_token"`},
		"another tenant":           {token, fixture.UUID(), "GET", "/api/products", 403, ""},
		"a scope it lacks":         {token, tenant, "POST", "/api/products", 403, `scope="products:write"`},
		"a path without a rule":    {token, tenant, "GET", "/api/unknown", 403, ""},
		"a path read two ways":     {token, tenant, "GET", "/api/products/..%2forders", 403, ""},
		"a tenant that is no UUID": {token, "acme", "GET", "/api/products", 401, `error="invalid_request"`},
	} {
		got, err := i.Verifier.Ask(t.Context(),
			install.Question{Token: test.token, TenantID: test.tenant, Method: test.method, Target: test.target})
		if err != nil {
			t.Fatal(err)
		}
		if got.Status != test.status || !strings.Contains(got.Header.Get("WWW-Authenticate"), test.challenge) {
			t.Errorf("%s: %d %v, want %d %s", name, got.Status, got.Header, test.status, test.challenge)
		}
	}

	// L2: revoking works with the controller down.
	i.Controller.Kill()
	i.Revoke(t, key)
	committed := time.Now()
	i.Verifier.AwaitAnswer(t, install.Question{Token: token, TenantID: tenant}, http.StatusUnauthorized,
		`"reason":"revoked"`)
	t.Logf("refused %s after the revocation was committed", time.Since(committed))
	if code := i.Verifier.Terminate(timeout); code != 0 {
		t.Errorf("the verifier ends with %d:\n%s", code, i.Verifier.Log())
	}
}
