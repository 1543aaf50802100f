package access_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
)

func TestCovers(t *testing.T) {
	tests := map[string]struct {
		granted, wanted keysv1alpha1.Scope
		want            bool
	}{
		"itself":                                {"products:read", "products:read", true},
		"another action":                        {"products:read", "products:write", false},
		"another resource":                      {"products:read", "orders:read", false},
		"everything covers a scope":             {"*", "products:read", true},
		"everything covers a resource":          {"*", "products:*", true},
		"everything covers everything":          {"*", "*", true},
		"a resource covers its actions":         {"products:*", "products:read", true},
		"a resource covers itself":              {"products:*", "products:*", true},
		"a resource isn't everything":           {"products:*", "*", false},
		"a resource isn't another":              {"products:*", "orders:read", false},
		"a resource isn't what it begins":       {"product:*", "products:read", false},
		"a resource isn't what begins it":       {"products:*", "product:read", false},
		"a resource isn't a resource alone":     {"products:*", "products", false},
		"a resource isn't a blank action":       {"products:*", "products:", false},
		"a scope isn't its resource":            {"products:read", "products:*", false},
		"a scope isn't everything":              {"products:read", "*", false},
		"nothing covers blank":                  {"*", "", false},
		"blank doesn't cover blank":             {"", "", false},
		"blank covers nothing":                  {"", "products:read", false},
		"no resource is no wildcard":            {":*", ":read", false},
		"an asterisk within is no wildcard":     {"prod*:read", "products:read", false},
		"an asterisk for a resource is nothing": {"*:read", "products:read", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := access.Covers(test.granted, test.wanted); got != test.want {
				t.Errorf("Covers(%q, %q) is %t", test.granted, test.wanted, got)
			}
		})
	}
}

func TestCoveredBy(t *testing.T) {
	granted := []keysv1alpha1.Scope{"products:read", "orders:*"}
	for wanted, want := range map[keysv1alpha1.Scope]bool{
		"products:read": true, "products:write": false, "orders:write": true, "orders:*": true, "*": false,
	} {
		if got := access.CoveredBy(granted, wanted); got != want {
			t.Errorf("CoveredBy(%q, %q) is %t", granted, wanted, got)
		}
	}
	if access.CoveredBy(nil, "products:read") {
		t.Error("no scope at all covers one")
	}
}

func TestValidScope(t *testing.T) {
	long := strings.Repeat("a", 63)
	tests := map[string]bool{
		"*": true, "products:read": true, "products:*": true, "ai-jobs:write": true, "a:b": true, "0:9": true,
		"a--b:c": true, long + ":" + long + "a": true, // 128 characters
		long + "aa:" + long: false, // 129
		"":                  false, ":": false, "products": false, "products:": false, ":read": false, "*:read": false,
		"*:*": false, "**": false, "Products:read": false, "products:Read": false, "products:read:all": false,
		"-products:read": false, "products-:read": false, "products:-read": false, "products:read-": false,
		"-:a": false, "products:r*": false, " products:read": false, "products:read ": false,
		"products:read orders:read": false, "products:read\n": false, "products_eu:read": false, "prodücts:read": false,
	}
	for scope, want := range tests {
		if got := access.ValidScope(scope); got != want {
			t.Errorf("ValidScope(%q) is %t", scope, got)
		}
	}
}

// schema is the CEL rule of keysv1alpha1.Scope.
var schema = regexp.MustCompile(`^([*]|[a-z0-9]([-a-z0-9]*[a-z0-9])?:([*]|[a-z0-9]([-a-z0-9]*[a-z0-9])?))$`)

func FuzzScopes(f *testing.F) {
	for _, seed := range [][2]string{
		{"*", "products:read"}, {"products:*", "products:read"}, {"products:*", "*"}, {"a-b:c", "a-b:c"}, {"", ":*"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, s := range []string{a, b} {
			if got, want := access.ValidScope(s), len(s) <= 128 && schema.MatchString(s); got != want {
				t.Errorf("ValidScope(%q) is %t, and the schema says %t", s, got, want)
			}
		}
		if !access.ValidScope(a) || !access.ValidScope(b) {
			return
		}
		// What a scope covers, by its definition as a pattern.
		pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(a), `\*`, `.*`) + "$"
		want := regexp.MustCompile(pattern).MatchString(b)
		if got := access.Covers(keysv1alpha1.Scope(a), keysv1alpha1.Scope(b)); got != want {
			t.Errorf("Covers(%q, %q) is %t", a, b, got)
		}
	})
}

func TestParseScopes(t *testing.T) {
	for name, test := range map[string]struct {
		list string
		want []keysv1alpha1.Scope // nil where it is refused
	}{
		"one":                 {"products:read", []keysv1alpha1.Scope{"products:read"}},
		"several":             {" products:read\t orders:* * ", []keysv1alpha1.Scope{"products:read", "orders:*", "*"}},
		"one twice":           {"a:b a:b", []keysv1alpha1.Scope{"a:b", "a:b"}},
		"nothing":             {"", nil},
		"only white space":    {" \t\n", nil},
		"no scope":            {"read", nil},
		"one of two":          {"products:read read", nil},
		"commas":              {"products:read,orders:read", nil},
		"another white space": {"products:read\u00a0x", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := access.ParseScopes(test.list)
			if !slices.Equal(got, test.want) || ok != (test.want != nil) {
				t.Errorf("%q is %q, %t", test.list, got, ok)
			}
		})
	}
}
