package access_test

import (
	"fmt"
	"strings"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
)

// fiftyRules returns a matcher of 50 rules for one host, beside one with a wildcard.
func fiftyRules() *access.Matcher {
	api := newPolicy("api", 0, hostList("api.example.com"))
	for i := range 25 {
		path := fmt.Sprintf("/api/resource-%d", i)
		api.Spec.Rules = append(api.Spec.Rules, prefix(path, "r:read", "GET", "HEAD"), prefix(path, "r:write", "POST", "PUT"))
	}
	return compile(api, newPolicy("other", 1, hostList("*.example.org"), prefix("/", "o:read"),
		prefix("/Straße", "s:read")))
}

// requests must allocate nothing, whatever the result.
var requests = map[string]request{
	"a match":                  {"api.example.com", "GET", "/api/resource-17/items/4711"},
	"a wildcard":               {"a.b.example.org", "GET", "/some/path"},
	"upper case":               {"api.example.com", "GET", "/API/Resource-17/items/4711"},
	"beyond ASCII":             {"a.example.org", "GET", "/straße/7"},
	"a suffix":                 {"api.example.com", "GET", "/api/resource-17.json"},
	"another method":           {"api.example.com", "DELETE", "/api/resource-17"},
	"another host":             {"a.b.c.example.net", "GET", "/"},
	"another path":             {"api.example.com", "GET", "/other"},
	"many segments":            {"api.example.com", "GET", "/api/resource-17" + strings.Repeat("/a", 4000)},
	"many segments, no prefix": {"api.example.com", "GET", strings.Repeat("/a", 4000)},
	"a long segment":           {"api.example.com", "GET", "/" + strings.Repeat("A", 8000)},
	"a long last segment":      {"api.example.com", "GET", "/api/resource-17/" + strings.Repeat("É", 4000)},
}

func TestRouteAllocatesNothing(t *testing.T) {
	matcher := fiftyRules()
	granted := []keysv1alpha1.Scope{"a:read", "b:*", "r:write"}
	for name, r := range requests {
		t.Run(name, func(t *testing.T) {
			allocations := testing.AllocsPerRun(100, func() {
				if requirement, ok := matcher.Route(r.host, r.method, r.path); ok {
					_, _ = requirement.SatisfiedBy(granted)
				}
			})
			if allocations != 0 {
				t.Errorf("%v allocations", allocations)
			}
		})
	}
}

func TestCanonicalFormsAllocateNothing(t *testing.T) {
	for name, canonicalise := range map[string]func() bool{
		"a path":         func() bool { _, ok := access.CanonicalPath("/api/products/4711?fields=name&limit=10"); return ok },
		"a refused path": func() bool { _, ok := access.CanonicalPath("/api//products"); return !ok },
		"a host":         func() bool { _, ok := access.CanonicalHost("api.example.com.:443"); return ok },
		"an address":     func() bool { _, ok := access.CanonicalHost("[2001:db8::1]:443"); return ok },
		"a scope":        func() bool { return access.ValidScope("products:read") },
		"scopes":         func() bool { return access.CoveredBy([]keysv1alpha1.Scope{"a:b", "c:*"}, "c:d") },
	} {
		t.Run(name, func(t *testing.T) {
			if allocations := testing.AllocsPerRun(100, func() {
				if !canonicalise() {
					t.Fatal("not read as expected")
				}
			}); allocations != 0 {
				t.Errorf("%v allocations", allocations)
			}
		})
	}
}

func BenchmarkRoute(b *testing.B) {
	matcher := fiftyRules()
	for _, name := range []string{"a match", "a wildcard", "upper case", "another path",
		"many segments", "a long segment"} {
		r := requests[name]
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = matcher.Route(r.host, r.method, r.path)
			}
		})
	}
}

func BenchmarkCanonicalPath(b *testing.B) {
	for name, target := range map[string]string{
		"plain":   "/api/products/4711?fields=name&limit=10",
		"escapes": "/api/%70roducts/red%20shoes",
		"longest": "/" + strings.Repeat("a/", 4095) + "a",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = access.CanonicalPath(target)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	policies := []keysv1alpha1.AccessPolicy{newPolicy("api", 0, hostList("api.example.com"))}
	for i := range 256 {
		policies[0].Spec.Rules = append(policies[0].Spec.Rules,
			prefix(fmt.Sprintf("/api/resource-%d/items", i), "r:read", "GET", "PUT"))
	}
	b.ReportAllocs()
	for b.Loop() {
		access.Compile(policies)
	}
}
