package verify_test

import (
	"fmt"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// manyKeys returns a scene of 1,000 keys of 20 tenants, 50 rules, and all allowlists that there can be.
func manyKeys() *scene {
	s := newScene()
	for n := range 999 {
		tenant := fmt.Sprintf("00000000-0000-0000-0000-%012d", n%20)
		s.tenants[tenant] = &index.Tenant{}
		claim := s.claim(fmt.Sprint("shop/", n), tenant, fmt.Sprint("key ", n), 0)
		claim.Digest = token.DigestOf(fmt.Sprint("key ", n))
	}
	for n := len(s.rules); n < 50; n++ {
		s.rules = append(s.rules, rule(fmt.Sprint("/api/resource-", n), "GET",
			keysv1alpha1.Scope(fmt.Sprint("resource-", n, ":read"))))
	}
	s.grant.Allowlists = [2]index.Allowlist{allow("192.0.2.0/24", "203.0.113.0/24"), allow("203.0.113.7/32")}
	s.tenants[acme].Allowlists = []index.Allowlist{allow("203.0.113.0/24", "2001:db8::/32")}
	return s
}

// requests are changes of a scene of manyKeys, by their outcome.
var requests = map[string]struct {
	change func(*scene)
	reason verify.Reason
}{
	"hit":       {func(*scene) {}, verify.ReasonAllowed},
	"unknown":   {func(s *scene) { s.request.Authorization = bearer(unknownKey) }, verify.ReasonUnknownToken},
	"malformed": {func(s *scene) { s.request.Authorization = bearer(acmeKey[:65] + "!") }, verify.ReasonMalformedToken},
}

func TestDecideAllocatesNothing(t *testing.T) {
	for name, test := range requests {
		t.Run(name, func(t *testing.T) {
			s := manyKeys()
			test.change(s)
			view := s.view()
			wantReason(t, verify.Decide(view, &s.request, s.freshness, s.now), test.reason)
			if allocations := testing.AllocsPerRun(1000, func() {
				if verify.Decide(view, &s.request, s.freshness, s.now).Reason != test.reason {
					t.Fatal("decided otherwise")
				}
			}); allocations != 0 {
				t.Errorf("%v allocations", allocations)
			}
		})
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, name := range []string{"hit", "unknown", "malformed"} {
		s := manyKeys()
		requests[name].change(s)
		view := s.view()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if verify.Decide(view, &s.request, s.freshness, s.now).Reason != requests[name].reason {
					b.Fatal("decided otherwise")
				}
			}
		})
	}
	s := manyKeys()
	view := s.view()
	b.Run("hit-parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			request := s.request
			for pb.Next() {
				_ = verify.Decide(view, &request, s.freshness, s.now)
			}
		})
	})
}
