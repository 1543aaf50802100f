package access_test

import (
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
)

// declaring returns a policy that declares scopes and nothing else.
func declaring(scopes ...keysv1alpha1.Scope) keysv1alpha1.AccessPolicy {
	var policy keysv1alpha1.AccessPolicy
	for _, scope := range scopes {
		policy.Spec.Scopes = append(policy.Spec.Scopes, keysv1alpha1.ScopeDeclaration{Name: scope})
	}
	return policy
}

func TestCatalogueDeclares(t *testing.T) {
	shop := []keysv1alpha1.AccessPolicy{declaring("products:read", "orders:read"), declaring("orders:read", "jobs:*")}
	tests := map[string]struct {
		policies []keysv1alpha1.AccessPolicy
		scope    keysv1alpha1.Scope
		want     bool
	}{
		"by name":                                      {shop, "products:read", true},
		"by name in another policy":                    {shop, "jobs:*", true},
		"an undeclared action":                         {shop, "products:write", false},
		"a wildcard over a declared action":            {shop, "products:*", true},
		"a wildcard over nothing declared":             {shop, "pricing:*", false},
		"everything, over something":                   {shop, "*", true},
		"everything, over nothing":                     {nil, "*", false},
		"everything, by name":                          {[]keysv1alpha1.AccessPolicy{declaring("*")}, "*", true},
		"a declared wildcard doesn't declare actions":  {shop, "jobs:write", false},
		"declaring everything doesn't declare actions": {[]keysv1alpha1.AccessPolicy{declaring("*")}, "jobs:write", false},
		"blank": {shop, "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := access.NewCatalogue(test.policies).Declares(test.scope); got != test.want {
				t.Errorf("Declares(%q) is %t", test.scope, got)
			}
		})
	}
}

func TestCatalogueNearest(t *testing.T) {
	shop := []keysv1alpha1.AccessPolicy{
		declaring("products:read", "products:write", "orders:read", "orders:write", "ai-jobs:write", "*"),
		declaring("beta:reae", "beta:reaa"),
	}
	tests := map[string]struct {
		policies []keysv1alpha1.AccessPolicy
		scope    keysv1alpha1.Scope
		want     keysv1alpha1.Scope
	}{
		"a letter missing":                        {shop, "product:read", "products:read"},
		"a letter too many":                       {shop, "orderss:read", "orders:read"},
		"a letter wrong":                          {shop, "orders:wride", "orders:write"},
		"neighbours swapped are one slip":         {shop, "odrers:raed", "orders:read"},
		"a hyphen missing":                        {shop, "aijobs:write", "ai-jobs:write"},
		"a wildcard is answered with a wildcard":  {shop, "product:*", "products:*"},
		"a scope isn't answered with a wildcard":  {[]keysv1alpha1.AccessPolicy{declaring("jobs:*")}, "jobs:a", ""},
		"the declared one itself":                 {shop, "orders:read", "orders:read"},
		"of two as near the alphabetically first": {shop, "beta:read", "beta:reaa"},
		"another action is not a slip":            {shop, "products:delete", ""},
		"another resource is not a slip":          {shop, "pricing:read", ""},
		"a short scope has no room for slips":     {[]keysv1alpha1.AccessPolicy{declaring("a:c")}, "a:b", ""},
		"nobody is nudged to everything":          {[]keysv1alpha1.AccessPolicy{declaring("*")}, "products:*", ""},
		"nothing declared":                        {nil, "products:read", ""},
		"blank":                                   {shop, "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := access.NewCatalogue(test.policies).Nearest(test.scope)
			if got != test.want || ok != (test.want != "") {
				t.Errorf("Nearest(%q) is %q, %t", test.scope, got, ok)
			}
			if ok && !access.NewCatalogue(test.policies).Declares(got) {
				t.Errorf("the hint %q is not declared", got)
			}
		})
	}
}
