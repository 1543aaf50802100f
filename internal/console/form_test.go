package console

import (
	"slices"
	"strings"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

func TestForm(t *testing.T) {
	catalogue := keys.Catalogue([]keysv1alpha1.AccessPolicy{*fixture.Policy("p")})
	few := fixture.Tenant("few", func(x *keysv1alpha1.Tenant) {
		x.Spec.AllowedScopes = []keysv1alpha1.Scope{"orders:*", "products:read"}
		x.Spec.ExpiryOptions = []keysv1alpha1.Expiry{"7d"}
		x.Spec.MaxKeys = new(int32)
	})
	all := fixture.Tenant("all", func(x *keysv1alpha1.Tenant) {
		x.Spec.AllowedScopes = []keysv1alpha1.Scope{"*"}
		x.Spec.ExpiryOptions = usualExpiries
	})
	for name, test := range map[string]struct {
		tenant     *keysv1alpha1.Tenant
		groups     string
		everything bool
		expiries   int
		full       bool
	}{
		"no tenant":          {nil, "orders:orders:read,orders:write products:products:read,products:write", true, 4, false},
		"a tenant of all":    {all, "orders:orders:read,orders:write products:products:read,products:write", true, 4, false},
		"a tenant of little": {few, "orders:orders:read,orders:write products:products:read", false, 1, true},
	} {
		f := newForm(catalogue, test.tenant)
		groups := make([]string, len(f.Groups))
		for i, g := range f.Groups {
			names := make([]string, len(g.Scopes))
			for j, s := range g.Scopes {
				names[j] = string(s.Name)
			}
			groups[i] = g.Resource + ":" + strings.Join(names, ",")
		}
		if got := strings.Join(groups, " "); got != test.groups || (f.Everything != nil) != test.everything ||
			len(f.Expiries) != test.expiries || (f.Full != "") != test.full {
			t.Errorf("%s: %s, %+v", name, got, f)
		}
	}
}

func TestCheck(t *testing.T) {
	good := filledForm{Name: "a", DisplayName: "A", Scopes: []string{"a:read"}}
	for name, test := range map[string]struct {
		change func(*filledForm)
		wrong  []string
	}{
		"all is well": {func(*filledForm) {}, nil},
		"everything filled in": {func(w *filledForm) {
			w.AllowedCIDRs = []string{"10.0.0.0/8", "2001:db8::/32"}
			w.RotateEvery, w.RotateOverlap = "30d", "12h"
		}, nil},
		"nothing filled in":  {func(w *filledForm) { *w = filledForm{} }, []string{"displayName", "name", "scopes"}},
		"a long name":        {func(w *filledForm) { w.DisplayName = strings.Repeat("x", 129) }, []string{"displayName"}},
		"a name with blanks": {func(w *filledForm) { w.Name = "a b" }, []string{"name"}},
		"no block": {
			func(w *filledForm) { w.AllowedCIDRs = []string{"10.0.0.0/8", "here", "there"} }, []string{"allowedCIDRs"},
		},
		"no periods": {
			func(w *filledForm) { w.RotateEvery, w.RotateOverlap = "monthly", "1y" }, []string{"rotateEvery", "rotateOverlap"},
		},
	} {
		filled := good
		test.change(&filled)
		var wrong []string
		for _, f := range filled.check() {
			wrong = append(wrong, f.Field)
		}
		if !slices.Equal(wrong, test.wrong) {
			t.Errorf("%s: %v", name, wrong)
		}
	}
}

func TestBlockProblem(t *testing.T) {
	for block, want := range map[string]string{
		"10.0.0.0/8":      "",
		"203.0.113.7":     "write 203.0.113.7/32.",
		"2001:db8::1":     "write 2001:db8::1/128.",
		"203.0.113.7/24":  "write 203.0.113.0/24.",
		"203.0.113.0/33":  "is no block",
		"everywhere":      "is no block",
		"2001:db8::/32 x": "is no block",
	} {
		if got := blockProblem(block); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %s", block, got)
		}
	}
}

func TestCurl(t *testing.T) {
	got := curl("nxc_live_x", "3714240b-2e06-4c35-8856-ccc1c096323e", "https://your-nexuscommerce.com/api/products")
	want := `curl https://your-nexuscommerce.com/api/products \
  -H "Authorization: Bearer nxc_live_x" \
  -H "X-Tenant-ID: 3714240b-2e06-4c35-8856-ccc1c096323e"`
	if got != want {
		t.Errorf("%s", got)
	}
	if got := curl("t", "i", "https://x/$(rm -rf ~)'"); !strings.HasPrefix(got, `curl 'https://x/$(rm -rf ~)'\''' `) {
		t.Errorf("what a shell would run: %s", got)
	}
}

func TestExample(t *testing.T) {
	catalogue := keys.Catalogue([]keysv1alpha1.AccessPolicy{*fixture.Policy("p")})
	base := "https://" + fixture.Host + "/api"
	for name, test := range map[string]struct {
		base   string
		scopes []keysv1alpha1.Scope
		want   string
	}{
		"what it may read":       {base, []keysv1alpha1.Scope{"products:read"}, base + "/products"},
		"a wildcard":             {base, []keysv1alpha1.Scope{"orders:*"}, base + "/orders"},
		"everything":             {base, []keysv1alpha1.Scope{"*"}, base + "/orders"},
		"what it may only write": {base, []keysv1alpha1.Scope{"products:write"}, base},
		"another host":           {"https://other.example/api", []keysv1alpha1.Scope{"*"}, "https://other.example/api"},
		"another path": {
			"https://" + fixture.Host + "/v2", []keysv1alpha1.Scope{"*"}, "https://" + fixture.Host + "/v2",
		},
		"no base": {"", []keysv1alpha1.Scope{"*"}, ""},
	} {
		if got := example(test.base, catalogue, test.scopes); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
