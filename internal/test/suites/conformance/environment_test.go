package conformance_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// environment is what all proxies share: an API, its keys, a verifier, and servers that stand in for one.
type environment struct {
	*install.Installation

	authority *authority.Authority
	keys      map[string]key
	// failing answers 5xx, slow answers after slowness, and stale is a verifier that has never reached an API server.
	failing, slow, stale install.Addresses
	// namespaces counts the namespaces that Traefiks have been given.
	namespaces atomic.Int32
}

// key is a key whose token requests may carry.
type key struct {
	// id, name, tenant and scopes are its identity, as the upstream is told it.
	id, name, tenant, scopes string
	token                    string
}

// slowness is how long the slow server takes to answer.
const slowness = 3 * time.Second

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	e := &environment{authority: authority.New(t), keys: map[string]key{}}
	e.Installation = install.New(t, install.Options{Manifests: []string{"rbac", "verifier/canary.yaml"}})
	for _, policy := range policies() {
		e.Create(t, policy)
	}
	e.issueAll(t)
	tls := install.SignedBy(t, e.authority, authority.VerifierName)
	flags := []string{"--trusted-proxies=127.0.0.1/32," + balancer + "/32"}
	e.Verifier = e.StartVerifier(t, install.VerifierOptions{TLS: tls, Flags: flags})
	e.stale = e.startStale(t, tls).Addresses
	certificate, private := e.authority.Serving(t, authority.VerifierName)
	e.failing = standIn(t, [2]string{certificate, private}, proxies.Fail)
	e.slow = standIn(t, [2]string{certificate, private}, slowly)
	return e
}

// startStale starts a verifier whose API server does not answer.
func (e *environment) startStale(t *testing.T, tls *install.TLS) *install.Verifier {
	t.Helper()
	kubeconfig, err := e.ServiceAccountKubeconfigAt("apikey-verifier", "https://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	return e.StartVerifier(t, install.VerifierOptions{
		Kubeconfig: kubeconfig, TLS: tls, NoWait: true, Flags: []string{"--startup-timeout=0"},
	})
}

// plane returns the control plane from which proxies read their objects. It starts it if there is none.
type plane func(testing.TB) *controlplane.ControlPlane

// planeFor returns the control plane for a set-up. A gateway, which reads all objects that there are, has one of its
// own.
func (e *environment) planeFor(t *testing.T, u setUp) plane {
	t.Helper()
	if !u.isGateway() {
		return func(testing.TB) *controlplane.ControlPlane { return e.ControlPlane }
	}
	start := sync.OnceValue(func() *controlplane.ControlPlane {
		return install.ControlPlane(t, controlplane.Options{})
	})
	return func(testing.TB) *controlplane.ControlPlane { return start() }
}

// proxyEnvironment returns the environment of a proxy that reaches the verifier through a gate.
func (e *environment) proxyEnvironment(g *gate, from plane) proxies.Environment {
	return proxies.Environment{Verifier: g.addresses(), Authority: e.authority, Plane: from}
}

// policies returns the AccessPolicies that declare the API. All methods at /api/products but OPTIONS need the same
// scope, because some proxies are configured for that path alone.
func policies() []*keysv1alpha1.AccessPolicy {
	yes := true
	prefix := func(path string) []keysv1alpha1.PathMatch {
		return []keysv1alpha1.PathMatch{{Type: keysv1alpha1.PathPrefix, Value: path}}
	}
	policy := func(name, host string, rules ...keysv1alpha1.AccessRule) *keysv1alpha1.AccessPolicy {
		return &keysv1alpha1.AccessPolicy{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: keysv1alpha1.AccessPolicySpec{
				Hosts: []keysv1alpha1.Host{keysv1alpha1.Host(host)},
				Scopes: []keysv1alpha1.ScopeDeclaration{
					{Name: "products:read"}, {Name: "orders:read"}, {Name: "admin:all"}, {Name: "*"},
				},
				Rules: rules,
			},
		}
	}
	products := []keysv1alpha1.Scope{"products:read"}
	return []*keysv1alpha1.AccessPolicy{
		policy("api", apiHost,
			keysv1alpha1.AccessRule{
				Paths: prefix("/api/products"), Methods: []keysv1alpha1.Method{"GET", "HEAD", "POST"}, Scopes: products,
			},
			keysv1alpha1.AccessRule{
				Paths: prefix("/api/products"), Methods: []keysv1alpha1.Method{"OPTIONS"}, Anonymous: &yes,
			},
			keysv1alpha1.AccessRule{Paths: prefix("/grpc.health.v1.Health"), Scopes: products},
			keysv1alpha1.AccessRule{Paths: prefix("/public"), Anonymous: &yes},
		),
		policy("open", openHost, keysv1alpha1.AccessRule{Paths: prefix("/"), Anonymous: &yes}),
		policy("admin", adminHost, keysv1alpha1.AccessRule{
			Paths: prefix("/"), Scopes: []keysv1alpha1.Scope{"admin:all"},
		}),
	}
}

// issueAll creates the keys, each with its tenant.
func (e *environment) issueAll(t *testing.T) {
	t.Helper()
	past := metav1.NewTime(time.Now().Add(-time.Hour))
	acme := e.newTenant(t, "acme", "shop")
	e.issue(t, acme, "shop", "reader", func(*keysv1alpha1.ApiKey) {})
	e.issue(t, acme, "shop", "narrow", func(k *keysv1alpha1.ApiKey) {
		k.Spec.Scopes = []keysv1alpha1.Scope{"orders:read"}
	})
	e.issue(t, acme, "shop", "busy", func(*keysv1alpha1.ApiKey) {})
	e.issue(t, acme, "shop", "calm", func(*keysv1alpha1.ApiKey) {})
	e.issue(t, acme, "shop", "nearby", func(k *keysv1alpha1.ApiKey) {
		k.Spec.AllowedCIDRs = []keysv1alpha1.CIDR{clientAddress + "/32"}
	})
	e.issue(t, acme, "shop", "elsewhere", func(k *keysv1alpha1.ApiKey) {
		k.Spec.AllowedCIDRs = []keysv1alpha1.CIDR{"203.0.113.0/24"}
	})
	e.issue(t, acme, "shop", "revoked", func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
	e.issue(t, acme, "shop", "suspended", func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended })
	e.issue(t, acme, "shop", "expired", func(k *keysv1alpha1.ApiKey) { k.Status.ExpiresTime = &past })
	deleted := e.issue(t, acme, "shop", "deleted", func(k *keysv1alpha1.ApiKey) {
		k.Finalizers = []string{"example.com/kept"}
	})
	e.Delete(t, deleted)

	globex := e.newTenant(t, "globex", "globex")
	e.issue(t, globex, "globex", "other", func(*keysv1alpha1.ApiKey) {})
	e.issue(t, acme, "shop", "moved", func(k *keysv1alpha1.ApiKey) {
		k.Status.Conditions = []metav1.Condition{{
			Type: keysv1alpha1.ConditionAdmitted, Status: metav1.ConditionFalse, Reason: keysv1alpha1.ReasonTenantChanged,
			LastTransitionTime: metav1.Now(),
		}}
	})
	lazy := e.newTenant(t, "lazy", "lazy", func(tenant *keysv1alpha1.Tenant) {
		tenant.Spec.State = keysv1alpha1.TenantSuspended
	})
	e.issue(t, lazy, "lazy", "sleeping", func(*keysv1alpha1.ApiKey) {})

	unknown, err := fixture.Token("nobody", "Unknown1")
	if err != nil {
		t.Fatal(err)
	}
	e.keys["unknown"] = key{tenant: acme.Spec.ID, token: unknown.Reveal()}
	e.keys["malformed"] = key{tenant: acme.Spec.ID, token: "nxc_live_7Hk2PqZx"}
	e.keys["stand-in"] = key{id: "admin", name: "admin", tenant: "admin", scopes: "admin"}
	e.issueLargest(t)
}

// issueLargest creates the key with the largest identity headers: as many scopes as a key may have, each as long as it
// may be, and the longest names.
func (e *environment) issueLargest(t *testing.T) {
	t.Helper()
	const scopes, scopeLength, namespaceLength, nameLength = 64, 128, 63, 253
	scope := func(i int) keysv1alpha1.Scope {
		resource := "r" + string(rune('0'+i/10)) + string(rune('0'+i%10)) + ":"
		return keysv1alpha1.Scope(resource + strings.Repeat("a", scopeLength-len(resource)))
	}
	namespace := strings.Repeat("n", namespaceLength)
	tenant := e.newTenant(t, "large", namespace)
	e.issue(t, tenant, namespace, strings.Repeat("k", nameLength), func(k *keysv1alpha1.ApiKey) {
		k.Spec.Scopes = []keysv1alpha1.Scope{"products:read"}
		for i := range scopes - 1 {
			k.Spec.Scopes = append(k.Spec.Scopes, scope(i))
		}
	})
	e.keys["largest"] = e.keys[strings.Repeat("k", nameLength)]
}

// standIn starts a server in place of the verifier.
func standIn(t *testing.T, certificate [2]string, handler http.HandlerFunc) install.Addresses {
	t.Helper()
	address := proxies.StandIn(t, certificate, handler)
	return install.Addresses{HTTP: address, GRPC: address}
}

// slowly allows every request, after slowness.
func slowly(w http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(slowness):
		proxies.Pass(w, r)
	}
}

// newTenant creates a tenant with a namespace.
func (e *environment) newTenant(
	t *testing.T, name, namespace string, change ...func(*keysv1alpha1.Tenant),
) *keysv1alpha1.Tenant {
	t.Helper()
	tenant := fixture.Tenant(name, change...)
	e.Create(t, tenant, fixture.Namespace(namespace, name))
	return tenant
}

// issue creates a key in the state in which the controller leaves it.
func (e *environment) issue(
	t *testing.T, tenant *keysv1alpha1.Tenant, namespace, name string, change func(*keysv1alpha1.ApiKey),
) *keysv1alpha1.ApiKey {
	t.Helper()
	k, id := fixture.ApiKey(namespace, name, change), "Key0000"+string(rune('A'+len(e.keys)))
	tok, err := fixture.IssueAs(t.Context(), e.Client, k, tenant.Spec.ID, id)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var scopes []string
	for _, scope := range k.Spec.Scopes {
		scopes = append(scopes, string(scope))
	}
	e.keys[name] = key{
		id: id, name: namespace + "/" + name, tenant: tenant.Spec.ID, scopes: strings.Join(scopes, " "), token: tok,
	}
	return k
}
