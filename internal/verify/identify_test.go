package verify_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

func (s *scene) identify(key string) verify.Decision {
	return verify.Identify(s.view(), key, nil, s.request.Client, s.freshness, s.now)
}

// identifyFor identifies a token for a tenant.
func (s *scene) identifyFor(tenant, key string) verify.Decision {
	named := tenantIDOf(tenant)
	return verify.Identify(s.view(), key, &named, s.request.Client, s.freshness, s.now)
}

func TestIdentify(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*scene)
		reason verify.Reason
	}{
		"active":                  {func(*scene) {}, verify.ReasonAllowed},
		"no tenant is named":      {func(s *scene) { s.request.TenantID = nil }, verify.ReasonAllowed},
		"no route is asked about": {func(s *scene) { s.rules = nil }, verify.ReasonAllowed},
		"no scopes":               {func(s *scene) { s.grant.Granted, s.grant.Asked = nil, nil }, verify.ReasonAllowed},
		"suspended":               {func(s *scene) { s.grant.State = index.StateSuspended }, verify.ReasonSuspended},
		"revoked":                 {func(s *scene) { s.grant.State = index.StateRevoked }, verify.ReasonRevoked},
		"being deleted":           {func(s *scene) { s.grant.State = index.StateDeleting }, verify.ReasonDeleted},
		"expired by condition":    {func(s *scene) { s.grant.State = index.StateExpired }, verify.ReasonExpired},
		"expired by the clock":    {func(s *scene) { s.grant.NotAfter = noon.UnixNano() }, verify.ReasonExpired},
		"tenant changed": {func(s *scene) { s.grant.State = index.StateWithdrawn },
			verify.ReasonTenantChanged},
		"tenant gone":      {func(s *scene) { delete(s.tenants, acme) }, verify.ReasonTenantChanged},
		"tenant suspended": {func(s *scene) { s.tenants[acme].Suspended = true }, verify.ReasonTenantSuspended},
		"address not on status' list": {func(s *scene) { s.grant.Allowlists[0] = allow("192.0.2.0/24") },
			verify.ReasonAddressNotAllowed},
		"address not on spec's list": {func(s *scene) { s.grant.Allowlists[1] = allow("192.0.2.0/24") },
			verify.ReasonAddressNotAllowed},
		"address not on the tenant's": {func(s *scene) {
			s.tenants[acme].Allowlists = []index.Allowlist{allow("192.0.2.0/24")}
		}, verify.ReasonAddressNotAllowed},
		"address on all lists": {func(s *scene) { s.grant.Allowlists[0] = allow("203.0.113.0/24") },
			verify.ReasonAllowed},
		"address not known": {func(s *scene) {
			s.grant.Allowlists[0], s.request.Client = allow("203.0.113.0/24"),
				netip.Addr{}
		}, verify.ReasonAddressNotAllowed},
		"address unknown, any allowed": {func(s *scene) { s.request.Client = netip.Addr{} }, verify.ReasonAllowed},
		"not fresh":                    {func(s *scene) { s.freshness = verify.Stale }, verify.ReasonUnavailable},
		"not synced":                   {func(s *scene) { s.freshness = verify.NotSynced }, verify.ReasonUnavailable},
		"its name is another's too":    {func(s *scene) { s.freshness = verify.Contested }, verify.ReasonUnavailable},
		"revoked, and not fresh": {func(s *scene) { s.grant.State, s.freshness = index.StateRevoked, verify.Stale },
			verify.ReasonRevoked},
		"an anonymous route is no key": {func(s *scene) { s.anonymous("/"); s.grant.State = index.StateRevoked },
			verify.ReasonRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			test.change(s)
			got := s.identify(acmeKey)
			wantReason(t, got, test.reason)
			if test.reason == verify.ReasonAllowed && (got.Grant.Name != "shop/warehouse" || got.TenantID != acme) {
				t.Errorf("identified as %+v", got)
			}
		})
	}
}

func TestIdentifyNoKey(t *testing.T) {
	for key, reason := range map[string]verify.Reason{
		"": verify.ReasonMalformedToken, acmeKey + "x": verify.ReasonMalformedToken,
		"Bearer " + acmeKey: verify.ReasonMalformedToken,
		unknownKey:          verify.ReasonUnknownToken,
	} {
		wantReason(t, newScene().identify(key), reason)
	}
	s := newScene()
	s.freshness = verify.Stale
	wantReason(t, s.identify(unknownKey), verify.ReasonUnavailable)
}

// squat lets globex register the digest of acme's key, before or after acme.
func (s *scene) squat(age time.Duration) *index.Claim {
	return s.register("other/squatter", globex, age)
}

// register lets another object register the digest of acme's key.
func (s *scene) register(name, tenant string, age time.Duration) *index.Claim {
	claim := s.claim(name, tenant, acmeKey, age)
	claim.Minted, claim.State = false, index.StateActive
	return claim
}

const (
	before = 365 * 24 * time.Hour // The key is a month old.
	after  = time.Hour
)

// TestClaimOfAnotherTenantChangesNothing lets globex register the digest of acme's key. Whatever happens to globex's
// claim, the token remains acme's for acme, and if it was minted for acme, also for requests without a tenant.
func TestClaimOfAnotherTenantChangesNothing(t *testing.T) {
	for _, age := range []time.Duration{before, after} {
		for _, minted := range []bool{true, false} {
			for state := index.StateActive; state <= index.StateWithdrawn; state++ {
				s := newScene()
				s.grant.Minted = minted
				s.squat(age).State = state
				wantAcmes(t, s.identifyFor(acme, acmeKey))
				wantAcmes(t, s.decide())
				if minted {
					wantAcmes(t, s.identify(acmeKey))
				} else {
					wantNoKey(t, s.identify(acmeKey))
				}
			}
		}
	}
}

func wantAcmes(t *testing.T, got verify.Decision) {
	t.Helper()
	wantReason(t, got, verify.ReasonAllowed)
	if got.Grant.Name != "shop/warehouse" || got.TenantID != acme {
		t.Errorf("answered by %+v", got.Grant)
	}
}

// wantNoKey checks that a decision names no key, and doesn't tell the client why.
func wantNoKey(t *testing.T, got verify.Decision) {
	t.Helper()
	wantReason(t, got, verify.ReasonTenantRequired)
	if got.Grant.Known() || got.TenantID != "" || got.Message() != "The API key is not valid." {
		t.Errorf("answered by %+v: %s", got.Grant, got.Message())
	}
}

// TestIdentifyWithoutTenant identifies a token that was made elsewhere. If only one tenant has it, its oldest key
// answers; if several have it, none does.
func TestIdentifyWithoutTenant(t *testing.T) {
	s := newScene()
	s.claim("shop/younger", acme, acmeKey, after)
	wantAcmes(t, s.identify(acmeKey))
	s.claim("shop/older", acme, acmeKey, before).State = index.StateSuspended
	wantReason(t, s.identify(acmeKey), verify.ReasonSuspended)
	s.squat(before)
	wantNoKey(t, s.identify(acmeKey))
	if got := s.identifyFor(globex, acmeKey); got.Grant.Name != "other/squatter" || got.TenantID != globex {
		t.Errorf("to globex, answered by %+v", got.Grant)
	}
}

// TestTenantWithoutClaim checks that a tenant without a claim learns only that, and not whose the token is.
func TestTenantWithoutClaim(t *testing.T) {
	const third = "5f0c8a3e-52a7-4a53-9a0e-0a5f3e1c2b77"
	s := newScene()
	s.tenants[third] = &index.Tenant{}
	wantReason(t, s.identifyFor(third, acmeKey), verify.ReasonWrongTenant)
	s.squat(before).State = index.StateRevoked
	s.request.TenantID = []string{third}
	if got := s.decide(); got.Reason != verify.ReasonWrongTenant || got.Grant.Known() {
		t.Errorf("of a token that two tenants have: %+v", got)
	}
	s.grant.Minted = true
	for _, got := range []verify.Decision{s.decide(), s.identifyFor(third, acmeKey)} {
		if got.Reason != verify.ReasonWrongTenant || got.Grant.Name != "shop/warehouse" {
			t.Errorf("of acme's minted token: %+v", got)
		}
	}
	wantReason(t, s.identifyFor(third, unknownKey), verify.ReasonUnknownToken)
}

// TestRevokedTokenStaysRevoked revokes acme's key and registers its digest again, by another tenant and by acme itself.
// It fails if Lookup considers each claim on its own.
func TestRevokedTokenStaysRevoked(t *testing.T) {
	for _, age := range []time.Duration{before, after} {
		s := newScene()
		s.grant.Minted, s.grant.State = true, index.StateRevoked
		s.squat(age)
		s.register("shop/again", acme, age)
		for _, tenant := range []string{acme, globex} {
			s.request.TenantID = []string{tenant}
			wantReason(t, s.decide(), verify.ReasonRevoked)
			wantReason(t, s.identifyFor(tenant, acmeKey), verify.ReasonRevoked)
		}
		wantReason(t, s.identify(acmeKey), verify.ReasonRevoked)
	}
}

// TestOnlyRevokingAMintedKeyAffectsOthers checks that no tenant can cause another's key to be refused: neither by
// revoking a digest that it has registered, nor by a change that can be undone.
func TestOnlyRevokingAMintedKeyAffectsOthers(t *testing.T) {
	for state := index.StateActive; state <= index.StateWithdrawn; state++ {
		s := newScene()
		s.squat(before).State = state
		wantReason(t, s.decide(), verify.ReasonAllowed)
		if state == index.StateRevoked {
			continue
		}
		minted := s.squat(before)
		minted.Minted, minted.State = true, state
		wantReason(t, s.decide(), verify.ReasonAllowed)
	}
}

// TestExplainRevokedToken checks that the explanation of a key that registered a revoked token says so.
func TestExplainRevokedToken(t *testing.T) {
	s := newScene()
	minted := s.squat(before)
	minted.Minted, minted.State = true, index.StateRevoked
	got := s.explain()
	wantReason(t, got.Decision, verify.ReasonRevoked)
	if first := firstRefusal(got); first.Check != verify.CheckClaim || first.Reason != verify.ReasonRevoked {
		t.Errorf("refused by %q: %s", first.Check, first.Reason)
	}
}
