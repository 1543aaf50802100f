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
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// environment is what all proxies have in common: an API, its keys, the verifier, and what stands in for one.
type environment struct {
	*install.Installation

	authority *authority.Authority
	keys      map[string]key
	// failing is a verifier that answers 5xx, slow one that answers after slowness, and stale one that has never reached
	// an API server.
	failing, slow, stale install.Addresses
	// namespaces counts those of Traefiks.
	namespaces atomic.Int32
}

// key is one that requests may have.
type key struct {
	// id, name, tenant and scopes are what the upstream is told of it.
	id, name, tenant, scopes string
	token                    string
}

// slowness is how long the slow verifier takes.
const slowness = 3 * time.Second

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	w := &environment{authority: authority.New(t), keys: map[string]key{}}
	w.Installation = install.New(t, install.Options{Manifests: []string{"rbac", "verifier/canary.yaml"}})
	for _, policy := range policies() {
		w.Create(t, policy)
	}
	w.issueAll(t)
	tls := install.SignedBy(t, w.authority, authority.VerifierName)
	flags := []string{"--trusted-proxies=127.0.0.1/32," + balancer + "/32"}
	w.Verifier = w.StartVerifier(t, install.VerifierOptions{TLS: tls, Flags: flags})
	w.stale = w.startStale(t, tls).Addresses
	certificate, private := w.authority.Serving(t, authority.VerifierName)
	w.failing = standIn(t, [2]string{certificate, private}, proxies.Fail)
	w.slow = standIn(t, [2]string{certificate, private}, slowly)
	return w
}

// startStale starts a verifier whose API server does not answer.
func (w *environment) startStale(t *testing.T, tls *install.TLS) *install.Verifier {
	t.Helper()
	kubeconfig, err := w.ServiceAccountKubeconfigAt("apikey-verifier", "https://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	return w.StartVerifier(t, install.VerifierOptions{
		Kubeconfig: kubeconfig, TLS: tls, NoWait: true, Flags: []string{"--startup-timeout=0"},
	})
}

// plane returns the control plane from which proxies read their objects. It starts it if there is none.
type plane func(testing.TB) *controlplane.ControlPlane

// planeFor returns the control plane for a set-up. A gateway, which reads all objects that there are, has one of its
// own.
func (w *environment) planeFor(t *testing.T, u setUp) plane {
	t.Helper()
	if !u.isGateway() {
		return func(testing.TB) *controlplane.ControlPlane { return w.ControlPlane }
	}
	start := sync.OnceValue(func() *controlplane.ControlPlane {
		return install.ControlPlane(t, controlplane.Options{})
	})
	return func(testing.TB) *controlplane.ControlPlane { return start() }
}

// proxyEnvironment is what a proxy is set up in that asks at a gate.
func (w *environment) proxyEnvironment(g *gate, from plane) proxies.Environment {
	return proxies.Environment{Verifier: g.addresses(), Authority: w.authority, Plane: from}
}

// policies declare the API. Every method that is asked for at /api/products needs one scope, because some proxies know
// that path alone.
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
func (w *environment) issueAll(t *testing.T) {
	t.Helper()
	past := metav1.NewTime(time.Now().Add(-time.Hour))
	acme := w.newTenant(t, "acme", "shop")
	w.issue(t, acme, "shop", "reader", func(*keysv1alpha1.ApiKey) {})
	w.issue(t, acme, "shop", "narrow", func(k *keysv1alpha1.ApiKey) {
		k.Spec.Scopes = []keysv1alpha1.Scope{"orders:read"}
	})
	w.issue(t, acme, "shop", "busy", func(*keysv1alpha1.ApiKey) {})
	w.issue(t, acme, "shop", "calm", func(*keysv1alpha1.ApiKey) {})
	w.issue(t, acme, "shop", "nearby", func(k *keysv1alpha1.ApiKey) {
		k.Spec.AllowedCIDRs = []keysv1alpha1.CIDR{clientAddress + "/32"}
	})
	w.issue(t, acme, "shop", "elsewhere", func(k *keysv1alpha1.ApiKey) {
		k.Spec.AllowedCIDRs = []keysv1alpha1.CIDR{"203.0.113.0/24"}
	})
	w.issue(t, acme, "shop", "revoked", func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
	w.issue(t, acme, "shop", "suspended", func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended })
	w.issue(t, acme, "shop", "expired", func(k *keysv1alpha1.ApiKey) { k.Status.ExpiresTime = &past })
	deleted := w.issue(t, acme, "shop", "deleted", func(k *keysv1alpha1.ApiKey) {
		k.Finalizers = []string{"example.com/kept"}
	})
	w.Delete(t, deleted)

	globex := w.newTenant(t, "globex", "globex")
	w.issue(t, globex, "globex", "other", func(*keysv1alpha1.ApiKey) {})
	w.issue(t, acme, "shop", "moved", func(k *keysv1alpha1.ApiKey) {
		k.Status.Conditions = []metav1.Condition{{
			Type: keysv1alpha1.ConditionAdmitted, Status: metav1.ConditionFalse, Reason: keysv1alpha1.ReasonTenantChanged,
			LastTransitionTime: metav1.Now(),
		}}
	})
	lazy := w.newTenant(t, "lazy", "lazy", func(tenant *keysv1alpha1.Tenant) {
		tenant.Spec.State = keysv1alpha1.TenantSuspended
	})
	w.issue(t, lazy, "lazy", "sleeping", func(*keysv1alpha1.ApiKey) {})

	w.keys["unknown"] = key{tenant: acme.Spec.ID, token: mint(t, "nobody", "Unknown1").Reveal()}
	w.keys["malformed"] = key{tenant: acme.Spec.ID, token: "nxc_live_7Hk2PqZx"}
	w.keys["stand-in"] = key{id: "admin", name: "admin", tenant: "admin", scopes: "admin"}
	w.issueLargest(t)
}

// issueLargest creates the key of which the upstream is told the most: as many scopes as there may be, each as long as
// it may be, and the longest names.
func (w *environment) issueLargest(t *testing.T) {
	t.Helper()
	const scopes, scopeLength, namespaceLength, nameLength = 64, 128, 63, 253
	scope := func(i int) keysv1alpha1.Scope {
		resource := "r" + string(rune('0'+i/10)) + string(rune('0'+i%10)) + ":"
		return keysv1alpha1.Scope(resource + strings.Repeat("a", scopeLength-len(resource)))
	}
	namespace := strings.Repeat("n", namespaceLength)
	tenant := w.newTenant(t, "large", namespace)
	w.issue(t, tenant, namespace, strings.Repeat("k", nameLength), func(k *keysv1alpha1.ApiKey) {
		k.Spec.Scopes = []keysv1alpha1.Scope{"products:read"}
		for i := range scopes - 1 {
			k.Spec.Scopes = append(k.Spec.Scopes, scope(i))
		}
	})
	w.keys["largest"] = w.keys[strings.Repeat("k", nameLength)]
}

// standIn starts what answers in a verifier's place.
func standIn(t *testing.T, certificate [2]string, handler http.HandlerFunc) install.Addresses {
	t.Helper()
	address := proxies.StandIn(t, certificate, handler)
	return install.Addresses{HTTP: address, GRPC: address}
}

// slowly lets everything pass, after a while.
func slowly(w http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(slowness):
		proxies.Pass(w, r)
	}
}

// newTenant creates a tenant with a namespace.
func (w *environment) newTenant(
	t *testing.T, name, namespace string, change ...func(*keysv1alpha1.Tenant),
) *keysv1alpha1.Tenant {
	t.Helper()
	tenant := fixture.Tenant(name, change...)
	w.Create(t, tenant, fixture.Namespace(namespace, name))
	return tenant
}

// issue creates a key as the controller leaves it.
func (w *environment) issue(
	t *testing.T, tenant *keysv1alpha1.Tenant, namespace, name string, change func(*keysv1alpha1.ApiKey),
) *keysv1alpha1.ApiKey {
	t.Helper()
	k := fixture.ApiKey(namespace, name, change)
	status := k.Status
	w.Create(t, k)
	id := "Key0000" + string(rune('A'+len(w.keys)))
	tok := mint(t, string(k.UID), id)
	k.Status = status
	k.Status.TenantID, k.Status.Scopes, k.Status.AllowedCIDRs = tenant.Spec.ID, k.Spec.Scopes, k.Spec.AllowedCIDRs
	k.Status.Credentials = []keysv1alpha1.Credential{{ID: id, Digest: tok.Digest().String(), IssuedTime: metav1.Now()}}
	if err := w.Client.Status().Update(t.Context(), k); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var scopes []string
	for _, scope := range k.Spec.Scopes {
		scopes = append(scopes, string(scope))
	}
	w.keys[name] = key{
		id: id, name: namespace + "/" + name, tenant: tenant.Spec.ID, scopes: strings.Join(scopes, " "), token: tok.Reveal(),
	}
	return k
}

func mint(t *testing.T, uid, id string) token.Token {
	t.Helper()
	root, err := token.RootFrom([]byte("a root key of 32 bytes for tests"))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := token.Derive(root, token.FormatLive, uid, id)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}
