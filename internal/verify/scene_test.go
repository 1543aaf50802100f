package verify_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	acme   = "3714240b-2e06-4c35-8856-ccc1c096323e"
	globex = "9d2f6c1e-0b7a-4f0e-8a51-5f3c2b1d4e60"
	host   = "api.example.com"
)

var (
	noon   = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	client = netip.MustParseAddr("203.0.113.7")

	acmeKey    = mint("AcmeKey1")
	unknownKey = mint("Unknown1")
)

func mint(id string) string {
	root, err := token.RootFrom(bytes.Repeat([]byte{7}, token.RootLength))
	if err != nil {
		panic(err)
	}
	minted, err := token.Derive(root, token.FormatLive, "6a2f5b5e-8f0f-4f35-9d0a-0c5c4f3f1d11", id)
	if err != nil {
		panic(err)
	}
	return minted.Reveal()
}

func tenantIDOf(s string) index.TenantID {
	id, ok := index.ParseTenantID(s)
	if !ok {
		panic(s)
	}
	return id
}

func bearer(key string) []string { return []string{"Bearer " + key} }

func scopes(names ...keysv1alpha1.Scope) []keysv1alpha1.Scope { return names }

func allow(cidrs ...keysv1alpha1.CIDR) index.Allowlist { return index.NewAllowlist(cidrs) }

// scene holds everything that a decision depends on. Tests start with one in which the request is allowed, change it,
// and check the decision.
type scene struct {
	// grant is that of acmeKey, which is acme's.
	grant *index.Claim
	// claims are those of other objects.
	claims    []*index.Claim
	tenants   map[string]*index.Tenant
	rules     []keysv1alpha1.AccessRule
	request   verify.Request
	freshness verify.Freshness
	now       time.Time
}

func newScene() *scene {
	return &scene{
		grant: &index.Claim{
			Grant: index.Grant{
				CredentialID: "AcmeKey1",
				Name:         "shop/warehouse",
				ScopesHeader: "products:read orders:*",
				Tenant:       tenantIDOf(acme),
				NotAfter:     index.Never,
			},
			Digest:  token.DigestOf(acmeKey),
			Created: noon.AddDate(0, -1, 0),
			Granted: scopes("products:read", "orders:*"),
			Asked:   scopes("products:read", "orders:*"),
		},
		tenants: map[string]*index.Tenant{acme: {}, globex: {}},
		rules: []keysv1alpha1.AccessRule{
			rule("/api/products", "GET", "products:read"),
			rule("/api/products", "POST", "products:write"),
			rule("/api/orders", "POST", "orders:write"),
			rule("/api/both", "GET", "products:read", "orders:write"),
			{Paths: paths("/api/either"), AnyOf: scopes("pricing:read", "orders:read")},
		},
		request: verify.Request{
			Authorization: bearer(acmeKey),
			TenantID:      []string{acme},
			Host:          host,
			Method:        "GET",
			Target:        "/api/products/4711?fields=name",
			Client:        client,
		},
		freshness: verify.Fresh,
		now:       noon,
	}
}

func paths(prefix string) []keysv1alpha1.PathMatch {
	return []keysv1alpha1.PathMatch{{Type: keysv1alpha1.PathPrefix, Value: prefix}}
}

func rule(prefix string, method keysv1alpha1.Method, needed ...keysv1alpha1.Scope) keysv1alpha1.AccessRule {
	return keysv1alpha1.AccessRule{Paths: paths(prefix), Methods: []keysv1alpha1.Method{method}, Scopes: needed}
}

// anonymous declares a path that needs no key.
func (s *scene) anonymous(prefix string) {
	yes := true
	s.rules = append(s.rules, keysv1alpha1.AccessRule{Paths: paths(prefix), Anonymous: &yes})
}

// claim lets another object claim a digest.
func (s *scene) claim(name, tenant, key string, age time.Duration) *index.Claim {
	claim := *s.grant
	claim.Name, claim.Tenant, claim.Digest, claim.Created = name, tenantIDOf(tenant), token.DigestOf(key), noon.Add(-age)
	s.claims = append(s.claims, &claim)
	return &claim
}

func (s *scene) view() *index.View {
	view := index.NewView()
	for _, claim := range append(s.claims, s.grant) {
		view.Credentials.Put(claim.Name, []*index.Claim{claim})
	}
	tenants := index.Tenants{}
	for name, tenant := range s.tenants {
		tenants.Add(tenantIDOf(name), *tenant)
	}
	view.SetTenants(tenants)
	view.SetRoutes(access.Compile([]keysv1alpha1.AccessPolicy{{
		ObjectMeta: metav1.ObjectMeta{Name: "api"},
		Spec:       keysv1alpha1.AccessPolicySpec{Hosts: []keysv1alpha1.Host{host}, Rules: s.rules},
	}}))
	return view
}

func (s *scene) decide() verify.Decision {
	return verify.Decide(s.view(), &s.request, s.freshness, s.now)
}

// decideAfter decides the request of a scene after a change.
func decideAfter(change func(*scene)) verify.Decision {
	s := newScene()
	change(s)
	return s.decide()
}

func wantReason(t *testing.T, got verify.Decision, want verify.Reason) {
	t.Helper()
	if got.Reason != want {
		t.Errorf("reason %s, want %s", got.Reason, want)
	}
	passes := want == verify.ReasonAllowed || want == verify.ReasonAnonymous
	if (got.Outcome == verify.Allow) != passes || (got.Status() == 200) != passes {
		t.Errorf("outcome %s and status %d for %s", got.Outcome, got.Status(), want)
	}
}
