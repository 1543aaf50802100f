package bypass_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

const (
	// timeout limits the wait for what must happen. It is long enough for a busy machine.
	timeout = time.Minute

	acme   = "3714240b-2e06-4c35-8856-ccc1c096323e"
	globex = "9d2f6c1e-0b7a-4f0e-8a51-5f3c2b1d4e60"

	// clientAddress is where the cases are sent from. Proxies are at 127.0.0.1, and trusted.
	clientAddress = "127.0.0.2"
)

// policies declare the API. Paths that aren't declared otherwise have a rule that the key satisfies, so that a path
// that can be read in two ways isn't refused only because it has no rule.
func policies() []*keysv1alpha1.AccessPolicy {
	yes := true
	rule := func(path string, scope keysv1alpha1.Scope, methods ...keysv1alpha1.Method) keysv1alpha1.AccessRule {
		return keysv1alpha1.AccessRule{
			Paths: []keysv1alpha1.PathMatch{{Type: keysv1alpha1.PathPrefix,
				Value: path}}, Methods: methods, Scopes: []keysv1alpha1.Scope{scope},
		}
	}
	export := rule("/api/products/export", "products:export", "GET")
	export.Paths[0].Type = keysv1alpha1.PathExact
	public := keysv1alpha1.AccessRule{
		Paths: []keysv1alpha1.PathMatch{{Type: keysv1alpha1.PathPrefix,
			Value: "/public"}}, Methods: []keysv1alpha1.Method{"GET", "HEAD"}, Anonymous: &yes,
	}
	anybody := keysv1alpha1.AccessRule{
		Paths: []keysv1alpha1.PathMatch{{Type: keysv1alpha1.PathPrefix, Value: "/"}}, Anonymous: &yes,
	}
	policy := func(name string, hosts []keysv1alpha1.Host, rules ...keysv1alpha1.AccessRule) *keysv1alpha1.AccessPolicy {
		declared := []keysv1alpha1.ScopeDeclaration{{Name: "site:read"}, {Name: "products:read"}, {Name: "products:write"},
			{Name: "products:export"}, {Name: "admin:all"}, {Name: "*"}}
		return &keysv1alpha1.AccessPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       keysv1alpha1.AccessPolicySpec{Hosts: hosts, Scopes: declared, Rules: rules},
		}
	}
	return []*keysv1alpha1.AccessPolicy{
		policy("api", []keysv1alpha1.Host{"api.example.com"},
			rule("/", "site:read", "GET", "HEAD"),
			rule("/api/products", "products:read", "GET", "HEAD"),
			rule("/api/products", "products:write", "POST", "PUT", "PATCH", "DELETE"),
			export,
			rule("/admin", "admin:all"),
			public,
		),
		policy("open", []keysv1alpha1.Host{"open.example.com"}, anybody),
		policy("admin", []keysv1alpha1.Host{"admin.example.com"}, rule("/", "admin:all")),
		policy("shops", []keysv1alpha1.Host{"*.shop.example.com"}, rule("/", "site:read", "GET", "HEAD")),
		policy("vip", []keysv1alpha1.Host{"vip.shop.example.com"}, rule("/", "admin:all")),
	}
}

// newOracle returns an oracle that knows the keys that may pass. The token of Admin001 is in no request, but many claim
// to be Admin001.
func newOracle() *oracle {
	scopes := []string{"products:read", "site:read"}
	return &oracle{policies: policies(), client: clientAddress, callers: map[string]caller{
		"Reader01": {id: "Reader01", name: "shop/reader", tenant: acme, scopes: scopes},
		"Nearby01": {id: "Nearby01", name: "shop/nearby", tenant: acme, scopes: scopes},
	}}
}

// placeholders are the names that may stand for values in a request: see testdata/hostile.txt.
var placeholders = []string{
	"host", "key", "auth", "tenant", "token", "tenantid", "othertenantid",
	"nearby", "elsewhere", "revoked", "suspended", "expired", "other", "unknown",
}

// testbed is a verifier, the keys that it knows, and the values of placeholders.
type testbed struct {
	*install.Installation

	// envoy is a connection to the verifier, like Envoy's.
	envoy  *grpc.ClientConn
	values map[string]string
	// authority signed the verifier's certificate. options are the options of the verifier.
	authority *authority.Authority
	options   install.VerifierOptions
	// startPlane starts a control plane for the proxies that need one, if the testbed has none.
	startPlane func(t testing.TB) *controlplane.ControlPlane
}

func newTestbed(t *testing.T) *testbed {
	t.Helper()
	b := &testbed{authority: authority.New(t)}
	b.Installation = install.New(t, install.Options{Manifests: []string{"rbac", "verifier/canary.yaml"}})
	b.options = install.VerifierOptions{
		Name: "verifier-1", TLS: install.SignedBy(t, b.authority, authority.VerifierName),
		Flags: []string{"--trusted-proxies=127.0.0.1/32"},
	}
	for _, policy := range policies() {
		b.Create(t, policy)
	}
	for name, id := range map[string]string{"shop": acme, "globex": globex} {
		b.Create(t, fixture.Tenant(name, func(tenant *keysv1alpha1.Tenant) { tenant.Spec.ID = id }))
		b.Create(t, fixture.Namespace(name, name))
	}
	unknown, err := fixture.Token("nobody", "Unknown1")
	if err != nil {
		t.Fatal(err)
	}
	past := metav1.NewTime(time.Now().Add(-time.Hour))
	values := map[string]string{
		"token": b.issue(t, "shop", "reader", "Reader01", acme, func(*keysv1alpha1.ApiKey) {}),
		"nearby": b.issue(t, "shop", "nearby", "Nearby01", acme,
			func(k *keysv1alpha1.ApiKey) { k.Spec.AllowedCIDRs = []keysv1alpha1.CIDR{clientAddress + "/32"} }),
		"elsewhere": b.issue(t, "shop", "elsewhere", "Elsewhe1", acme,
			func(k *keysv1alpha1.ApiKey) { k.Spec.AllowedCIDRs = []keysv1alpha1.CIDR{"203.0.113.0/24"} }),
		"revoked": b.issue(t, "shop", "revoked", "Revoked1", acme,
			func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked }),
		"suspended": b.issue(t, "shop", "suspended", "Suspend1", acme,
			func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended }),
		"expired": b.issue(t, "shop", "expired", "Expired1", acme,
			func(k *keysv1alpha1.ApiKey) { k.Status.ExpiresTime = &past }),
		"other":    b.issue(t, "globex", "other", "Other001", globex, func(*keysv1alpha1.ApiKey) {}),
		"unknown":  unknown.Reveal(),
		"tenantid": acme, "othertenantid": globex,
		"host":   "Host: api.example.com\r\n",
		"tenant": "X-Tenant-ID: " + acme + "\r\n",
	}
	b.issue(t, "shop", "admin", "Admin001", acme,
		func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"*"} })
	values["auth"] = "Authorization: Bearer " + values["token"] + "\r\n"
	values["key"] = values["auth"] + values["tenant"]
	if known := slices.Sorted(maps.Keys(values)); !slices.Equal(known, slices.Sorted(slices.Values(placeholders))) {
		t.Fatalf("placeholders %q", known)
	}
	b.values = values
	b.restartVerifier(t)
	connection, err := grpc.NewClient(b.Verifier.GRPC,
		grpc.WithTransportCredentials(credentials.NewTLS(b.options.TLS.Trust)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	b.envoy = connection
	return b
}

// restartVerifier starts a verifier at the addresses of the previous one, and waits until it is ready.
func (b *testbed) restartVerifier(t *testing.T) {
	t.Helper()
	b.Verifier = b.StartVerifier(t, b.options)
	b.options.Addresses = b.Verifier.Addresses
}

// environment returns the environment of a proxy that asks the testbed's verifier.
func (b *testbed) environment() proxies.Environment {
	return proxies.Environment{Verifier: b.Verifier.Addresses, Authority: b.authority, Plane: b.plane}
}

// plane returns the testbed's control plane. A testbed without a verifier starts one for the proxies that need it.
func (b *testbed) plane(t testing.TB) *controlplane.ControlPlane {
	t.Helper()
	if b.ControlPlane == nil {
		b.ControlPlane = b.startPlane(t)
	}
	return b.ControlPlane
}

// issue creates a key in the state that the controller leaves it in, and returns its token.
func (b *testbed) issue(t *testing.T, namespace, name, id, tenant string, change func(*keysv1alpha1.ApiKey)) string {
	t.Helper()
	key := fixture.ApiKey(namespace, name,
		func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"products:read", "site:read"} }, change)
	tok, err := fixture.IssueAs(t.Context(), b.Client, key, tenant, id)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return tok
}
