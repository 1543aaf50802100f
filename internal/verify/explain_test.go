package verify_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

func (s *scene) explain() verify.Explanation {
	return verify.Explain(s.view(), s.grant, &s.request, s.freshness, s.now)
}

func TestExplain(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*scene)
		check   verify.Check // the first that refuses
		reason  verify.Reason
		missing []keysv1alpha1.Scope
	}{
		"allowed":            {change: func(*scene) {}, reason: verify.ReasonAllowed},
		"no tenant is named": {change: func(s *scene) { s.request.TenantID = nil }, reason: verify.ReasonAllowed},
		"no token is needed": {change: func(s *scene) { s.request.Authorization = nil }, reason: verify.ReasonAllowed},
		"revoked": {func(s *scene) { s.grant.State = index.StateRevoked }, verify.CheckState,
			verify.ReasonRevoked, nil},
		"another tenant": {func(s *scene) { s.request.TenantID = []string{globex} }, verify.CheckTenant,
			verify.ReasonWrongTenant, nil},
		"not a tenant ID": {func(s *scene) { s.request.TenantID = []string{"x"} }, verify.CheckTenant,
			verify.ReasonTenantMalformed, nil},
		"tenant's addresses": {func(s *scene) { s.tenants[acme].Allowlists = []index.Allowlist{allow("192.0.2.0/24")} },
			verify.CheckTenantAddress, verify.ReasonAddressNotAllowed, nil},
		"status' addresses": {func(s *scene) { s.grant.Allowlists[0] = allow("192.0.2.0/24") }, verify.CheckGrantedAddress,
			verify.ReasonAddressNotAllowed, nil},
		"spec's addresses": {func(s *scene) { s.grant.Allowlists[1] = allow("192.0.2.0/24") }, verify.CheckAskedAddress,
			verify.ReasonAddressNotAllowed, nil},
		"no route": {func(s *scene) { s.request.Target = "/other" }, verify.CheckRoute, verify.ReasonNoRoute, nil},
		"ambiguous": {func(s *scene) { s.request.Target = "/api//products" }, verify.CheckRoute,
			verify.ReasonPathAmbiguous, nil},
		"scope not granted": {func(s *scene) { s.grant.Granted = scopes("orders:*") }, verify.CheckGrantedScopes,
			verify.ReasonScopeMissing, scopes("products:read")},
		"scope not asked": {func(s *scene) { s.grant.Asked = nil }, verify.CheckAskedScopes, verify.ReasonScopeMissing,
			scopes("products:read")},
		"one of two scopes": {func(s *scene) { s.request.Target, s.grant.Asked = "/api/both", scopes("products:read") },
			verify.CheckAskedScopes, verify.ReasonScopeMissing, scopes("orders:write")},
		"none of several": {func(s *scene) { s.request.Target, s.grant.Asked = "/api/either", nil },
			verify.CheckAskedScopes, verify.ReasonScopeMissing, scopes("pricing:read", "orders:read")},
		"stale": {func(s *scene) { s.freshness = verify.Stale }, verify.CheckFreshness, verify.ReasonUnavailable, nil},
		"anonymous": {change: func(s *scene) { s.anonymous("/public"); s.request.Target = "/public/x" },
			reason: verify.ReasonAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			test.change(s)
			got := s.explain()
			wantReason(t, got.Decision, test.reason)
			first := firstRefusal(got)
			if first.Check != test.check || !slices.Equal(first.Missing, test.missing) {
				t.Errorf("refused by %q, missing %v; want %q, %v", first.Check, first.Missing, test.check, test.missing)
			}
		})
	}
}

// TestExplainADigestHeldByAnOlderObject explains a key whose digest an older object of its tenant holds. Its token
// identifies the other key.
func TestExplainADigestHeldByAnOlderObject(t *testing.T) {
	s := newScene()
	s.claim("shop/first", acme, acmeKey, 365*24*time.Hour).State = index.StateRevoked
	got := s.explain()
	wantReason(t, got.Decision, verify.ReasonRevoked)
	if first := firstRefusal(got); first.Check != verify.CheckClaim || got.Decision.Grant.Name != "shop/first" {
		t.Errorf("refused by %q, holder %s", first.Check, got.Decision.Grant.Name)
	}
}

func firstRefusal(e verify.Explanation) verify.Step {
	for _, step := range e.Steps {
		if step.Reason != "" {
			return step
		}
	}
	return verify.Step{}
}

// TestExplainAgreesWithDecide goes through scenes with several faults at once. The decision must be the one that the
// key's token gets, and the first step that refuses must have its reason.
func TestExplainAgreesWithDecide(t *testing.T) {
	changes := []func(*scene){
		func(s *scene) { s.grant.State = index.StateSuspended },
		func(s *scene) { s.grant.NotAfter = noon.UnixNano() },
		func(s *scene) { delete(s.tenants, acme) },
		func(s *scene) {
			if tenant := s.tenants[acme]; tenant != nil {
				tenant.Allowlists = []index.Allowlist{allow("192.0.2.0/24")}
			}
		},
		func(s *scene) { s.request.TenantID = []string{globex} },
		func(s *scene) { s.request.TenantID = []string{"x"} },
		func(s *scene) { s.grant.Allowlists[0] = allow("192.0.2.0/24") },
		func(s *scene) { s.grant.Allowlists[1] = allow("192.0.2.0/24") },
		func(s *scene) { s.request.Client = netip.Addr{} },
		func(s *scene) { s.request.Target = "/other" },
		func(s *scene) { s.request.Target = "/api//x" },
		func(s *scene) { s.request.Method = "POST" },
		func(s *scene) { s.grant.Granted = nil },
		func(s *scene) { s.grant.Asked = scopes("pricing:*") },
		func(s *scene) { s.request.Target = "/api/either" },
		func(s *scene) { s.request.FixedScopes = scopes("products:write") },
		func(s *scene) { s.freshness = verify.Stale },
		func(s *scene) { s.anonymous("/other") },
		func(s *scene) { s.claim("other/claim", globex, acmeKey, 365*24*time.Hour) },
	}
	random := rand.New(rand.NewPCG(1, 2))
	reasons := map[verify.Reason]bool{}
	for round := range 5000 {
		s := newScene()
		var which []int
		for range random.IntN(4) {
			n := random.IntN(len(changes))
			which = append(which, n)
			changes[n](s)
		}
		want, got := s.decide(), s.explain()
		reasons[want.Reason] = true
		if got.Decision.Outcome != want.Outcome || got.Decision.Reason != want.Reason ||
			got.Decision.MissingScope != want.MissingScope {
			t.Fatalf("round %d, %v: explained as %+v, decided %+v", round, which, got.Decision, want)
		}
		if want.Grant.Name != s.grant.Name {
			continue // Nobody's, or the other's that claims the digest.
		}
		if first := firstRefusal(got).Reason; first != want.Reason && (want.Outcome != verify.Allow || first != "") {
			t.Fatalf("round %d, %v: the first step that refuses has %q, decided %s", round, which, first, want.Reason)
		}
	}
	if len(reasons) < 10 {
		t.Errorf("only %v", fmt.Sprint(reasons))
	}
}
