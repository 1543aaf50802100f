package explain_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/surface/explain"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	acme = "3714240b-2e06-4c35-8856-ccc1c096323e"
	name = "warehouse/storefront"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// explainer has a key in rotation, with two credentials, of which the older has expired.
type explainer struct {
	view  *index.View
	asked *verify.Request
}

func newExplainer() *explainer {
	e := &explainer{view: index.NewView()}
	tenant, _ := index.ParseTenantID(acme)
	e.view.SetTenants(index.Tenants{tenant: {}})
	claim := index.Claim{
		Grant:   index.Grant{Name: name, Tenant: tenant, NotAfter: index.Never},
		Granted: []keysv1alpha1.Scope{"products:read", "orders:read"}, Asked: []keysv1alpha1.Scope{"products:read"},
	}
	older, newer := claim, claim
	older.CredentialID, older.Digest, older.Issued, older.NotAfter = "zzzzzzzz", token.DigestOf("older"), 1,
		noon.UnixNano()
	newer.CredentialID, newer.Digest, newer.Issued = "aaaaaaaa", token.DigestOf("newer"), 2
	newer.Allowlists[0] = index.NewAllowlist([]keysv1alpha1.CIDR{"203.0.113.0/24"})
	e.view.Credentials.Put(name, []*index.Claim{&newer, &older})
	e.view.SetRoutes(access.Compile([]keysv1alpha1.AccessPolicy{{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: keysv1alpha1.AccessPolicySpec{Hosts: []keysv1alpha1.Host{"api.example.com"}, Rules: []keysv1alpha1.AccessRule{
			{Paths: []keysv1alpha1.PathMatch{{Value: "/api/products"}}, Scopes: []keysv1alpha1.Scope{"products:read"}},
			{Paths: []keysv1alpha1.PathMatch{{Value: "/api/orders"}}, Scopes: []keysv1alpha1.Scope{
				"orders:read", "orders:write",
			}},
		}},
	}}))
	return e
}

func (e *explainer) Explain(claim *index.Claim, request *verify.Request) verify.Explanation {
	e.asked = request
	return verify.Explain(e.view, claim, request, verify.Fresh, noon)
}

func (e *explainer) Find(wanted func(*index.Claim) bool) []*index.Claim {
	return e.view.Credentials.Find(wanted)
}

type answer struct {
	Explanations []struct {
		Key, Credential, Tenant, Outcome, Reason, Message string

		Route *struct {
			Policy        string
			Rule          *int
			Scopes, AnyOf []string
		}
		Steps []struct {
			Check   string
			OK      bool
			Reason  string
			Message string
			Missing []string
		}
	}
	Reason, Message string
}

func ask(t *testing.T, e *explainer, query string) (int, answer) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/debug/explain?"+query, http.NoBody)
	w := httptest.NewRecorder()
	explain.NewHandler(e).ServeHTTP(w, r)
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", w.Header())
	}
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	return w.Code, a
}

func TestExplanation(t *testing.T) {
	e := newExplainer()
	status, a := ask(t, e, "credential=aaaaaaaa&host=api.example.com&method=POST&path=/api/orders/7%3Fa=b&ip=203.0.113.7")
	if status != http.StatusOK || len(a.Explanations) != 1 {
		t.Fatalf("status %d, %+v", status, a)
	}
	if e.asked.Target != "/api/orders/7?a=b" || e.asked.Client != netip.MustParseAddr("203.0.113.7") {
		t.Errorf("asked about %+v", e.asked)
	}
	got := a.Explanations[0]
	if got.Key != name || got.Credential != "aaaaaaaa" || got.Tenant != acme || got.Outcome != "forbidden" ||
		got.Reason != "insufficient_scope" || got.Message != "The API key lacks a scope that this route needs." {
		t.Errorf("%+v", got)
	}
	if got.Route == nil || got.Route.Policy != "shop" || *got.Route.Rule != 1 ||
		strings.Join(got.Route.Scopes, " ") != "orders:read orders:write" {
		t.Errorf("route %+v", got.Route)
	}
	missing := map[string]string{}
	for _, step := range got.Steps {
		if step.OK != (step.Reason == "") || step.OK != (step.Message == "") {
			t.Errorf("%+v", step)
		}
		if !step.OK {
			missing[step.Check] = strings.Join(step.Missing, " ")
		}
	}
	if len(got.Steps) != 10 || len(missing) != 2 || missing["statusScopes"] != "orders:write" ||
		missing["specScopes"] != "orders:read orders:write" {
		t.Errorf("%+v", got.Steps)
	}
}

func TestEachCredential(t *testing.T) {
	_, a := ask(t, newExplainer(), "key="+name+"&host=api.example.com&method=GET&path=/api/products&ip=192.0.2.1")
	if len(a.Explanations) != 2 {
		t.Fatalf("%+v", a)
	}
	for n, want := range []struct{ credential, reason string }{
		{"zzzzzzzz", "expired"}, {"aaaaaaaa", "address_not_allowed"},
	} {
		if got := a.Explanations[n]; got.Credential != want.credential || got.Reason != want.reason {
			t.Errorf("%+v", got)
		}
	}
}

func TestAllowed(t *testing.T) {
	for _, query := range []string{
		"host=API.example.com:443&method=GET&path=/api/products", "scope=products:read", "scope=products:read&host=x",
		"tenant=" + acme + "&scope=products:read",
	} {
		_, a := ask(t, newExplainer(), "credential=aaaaaaaa&ip=203.0.113.7&"+query)
		if len(a.Explanations) != 1 || a.Explanations[0].Outcome != "allow" {
			t.Errorf("%s: %+v", query, a)
		}
	}
}

// TestInvalidQuestions checks that the answer to an invalid query repeats nothing of it (S2).
func TestInvalidQuestions(t *testing.T) {
	root, err := token.RootFrom(bytes.Repeat([]byte{7}, token.RootLength))
	if err != nil {
		t.Fatal(err)
	}
	minted, err := token.Derive(root, token.FormatLive, "uid", "AcmeKey1")
	if err != nil {
		t.Fatal(err)
	}
	const route = "&host=api.example.com&method=GET&path=/api/products"
	for query, status := range map[string]int{
		"":                                        400,
		"key=" + name:                             400,
		"key=" + name + "&host=a&method=GET":      400,
		route:                                     400,
		"key=a/b&credential=c" + route:            400,
		"key=a/b&key=a/b" + route:                 400,
		"token=" + minted.Reveal() + route:        400,
		"key=" + minted.Reveal() + route:          400,
		"credential=" + minted.Reveal() + route:   400,
		"key=a/b&tenant=" + minted.Reveal():       400,
		"key=a/b&ip=banana" + route:               400,
		"key=a/b&ip=fe80::1%25x" + route:          400,
		"key=a/b&scope=banana":                    400,
		"key=a/b&headers=" + url.QueryEscape("x"): 400,
		"key=%zz":                                 400,
		"key=nobody/here" + route:                 404,
		"credential=nobodyss" + route:             404,
	} {
		got, a := ask(t, newExplainer(), query)
		if got != status || a.Reason == "" || a.Message == "" || a.Explanations != nil {
			t.Errorf("status %d, want %d: %+v", got, status, a)
		}
		if strings.Contains(a.Message, minted.Reveal()) {
			t.Error("the answer contains a token")
		}
	}
}

func TestOnlyGet(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/debug/explain?key="+name+"&scope=a:b", http.NoBody)
	w := httptest.NewRecorder()
	explain.NewHandler(newExplainer()).ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodGet {
		t.Errorf("status %d, %v", w.Code, w.Header())
	}
}
