package access_test

import (
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
)

type scopeList = []keysv1alpha1.Scope

func TestRequirementSatisfiedBy(t *testing.T) {
	tests := map[string]struct {
		scopes, anyOf, granted scopeList
		needed                 string
	}{
		"nothing needed, nothing granted": {},
		"the one":                         {scopes: scopeList{"a:r"}, granted: scopeList{"b:r", "a:r"}},
		"another":                         {scopes: scopeList{"a:r"}, granted: scopeList{"b:r"}, needed: "a:r"},
		"none":                            {scopes: scopeList{"a:r"}, needed: "a:r"},
		"both":                            {scopes: scopeList{"a:r", "b:r"}, granted: scopeList{"a:*", "b:r"}},
		"one of both":                     {scopes: scopeList{"a:r", "b:r"}, granted: scopeList{"a:r"}, needed: "a:r b:r"},
		"everything": {scopes: scopeList{"a:r", "b:r"}, anyOf: scopeList{"c:r"},
			granted: scopeList{"*"}},
		"everything needed": {scopes: scopeList{"*"}, granted: scopeList{"a:*"}, needed: "*"},
		"the first of any":  {anyOf: scopeList{"a:r", "b:r"}, granted: scopeList{"a:r"}},
		"the last of any":   {anyOf: scopeList{"a:r", "b:r"}, granted: scopeList{"b:*"}},
		"not one of any":    {anyOf: scopeList{"a:r", "b:r"}, granted: scopeList{"c:r"}, needed: "a:r"},
		"all, but not one of any": {scopes: scopeList{"a:r"}, anyOf: scopeList{"b:r", "c:r"},
			granted: scopeList{"a:r"}, needed: "a:r b:r"},
		"one of any, but not all": {scopes: scopeList{"a:r"}, anyOf: scopeList{"b:r", "c:r"},
			granted: scopeList{"c:r"}, needed: "a:r b:r"},
		"all and one of any": {scopes: scopeList{"a:r"}, anyOf: scopeList{"b:r", "c:r"},
			granted: scopeList{"a:r", "c:r"}},
		"what all implies isn't asked twice": {scopes: scopeList{"a:*"}, anyOf: scopeList{"b:r", "a:r"}, needed: "a:*"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rule := keysv1alpha1.AccessRule{Paths: prefixes("/"), Scopes: test.scopes, AnyOf: test.anyOf}
			requirement := route(t, compile(newPolicy("p", 0, hostList("h"), rule)), "h", "GET", "/")
			needed, ok := requirement.SatisfiedBy(test.granted)
			if ok != (test.needed == "") || needed != test.needed {
				t.Errorf("SatisfiedBy(%q) is %q, %t", test.granted, needed, ok)
			}
		})
	}
}

func TestRequire(t *testing.T) {
	requirement := access.Require("a:r", "b:r")
	if needed, ok := requirement.SatisfiedBy(scopeList{"b:r"}); ok || needed != "a:r b:r" {
		t.Errorf("one of two fixed scopes gives %q, %t", needed, ok)
	}
	if _, ok := requirement.SatisfiedBy(scopeList{"a:r", "b:r"}); !ok || requirement.Anonymous ||
		requirement.Policy != "" {
		t.Errorf("%+v doesn't hold for its own scopes", requirement)
	}
}

func TestAnonymousRequirement(t *testing.T) {
	yes, no := true, false
	tests := map[string]struct {
		rule keysv1alpha1.AccessRule
		want bool
	}{
		"as asked":       {keysv1alpha1.AccessRule{Anonymous: &yes}, true},
		"as not asked":   {keysv1alpha1.AccessRule{Anonymous: &no}, false},
		"not by default": {keysv1alpha1.AccessRule{}, false},
		"not beside scopes, which no schema admits": {keysv1alpha1.AccessRule{Anonymous: &yes, Scopes: scopeList{"a:r"}},
			false},
		"not beside anyOf, which no schema admits": {keysv1alpha1.AccessRule{Anonymous: &yes, AnyOf: scopeList{"a:r"}},
			false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.rule.Paths = prefixes("/")
			if got := route(t, compile(newPolicy("p", 0, hostList("h"), test.rule)), "h", "GET",
				"/").Anonymous; got != test.want {
				t.Errorf("anonymous is %t", got)
			}
		})
	}
}
