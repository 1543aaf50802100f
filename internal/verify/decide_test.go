package verify_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// The challenges for a scene's host, without what follows the error code.
const (
	noChallenge       = ""
	noCode            = `Bearer realm="api.example.com"`
	invalidToken      = `Bearer realm="api.example.com", error="invalid_token", error_description="`
	invalidRequest    = `Bearer realm="api.example.com", error="invalid_request", error_description="`
	insufficientScope = `Bearer realm="api.example.com", error="insufficient_scope", error_description="`
)

// TestOutcomes goes through the outcomes of a decision, in the order of docs/verifier.md#the-decision.
func TestOutcomes(t *testing.T) {
	for name, test := range map[string]struct {
		change    func(*scene)
		status    int
		reason    verify.Reason
		challenge string // how it begins; without an error code, all of it
	}{
		"a key that may pass": {func(*scene) {}, 200, verify.ReasonAllowed, noChallenge},

		"no credentials": {func(s *scene) { s.request.Authorization = nil }, 401, verify.ReasonNoCredentials, noCode},
		"other scheme": {func(s *scene) { s.request.Authorization = []string{"Basic YTpi"} }, 401,
			verify.ReasonNoCredentials, noCode},
		"no headers at all": {func(s *scene) { s.request.Authorization, s.request.TenantID = nil, nil },
			401, verify.ReasonNoCredentials, noCode},
		"two credentials": {func(s *scene) { s.request.Authorization = append(bearer(acmeKey), bearer(acmeKey)...) },
			401, verify.ReasonDuplicateCredentials, invalidRequest},

		"malformed token": {func(s *scene) { s.request.Authorization = bearer(acmeKey[1:]) }, 401,
			verify.ReasonMalformedToken, invalidToken},
		"unknown token": {func(s *scene) { s.request.Authorization = bearer(unknownKey) }, 401,
			verify.ReasonUnknownToken, invalidToken},
		"revoked": {func(s *scene) { s.grant.State = index.StateRevoked }, 401, verify.ReasonRevoked, invalidToken},
		"suspended": {func(s *scene) { s.grant.State = index.StateSuspended }, 401,
			verify.ReasonSuspended, invalidToken},
		"deleted": {func(s *scene) { s.grant.State = index.StateDeleting }, 401, verify.ReasonDeleted, invalidToken},
		"expired": {func(s *scene) { s.grant.NotAfter = noon.Add(-time.Hour).UnixNano() },
			401, verify.ReasonExpired, invalidToken},
		"expired, says status": {func(s *scene) { s.grant.State = index.StateExpired }, 401,
			verify.ReasonExpired, invalidToken},
		"an unknown state": {func(s *scene) { s.grant.State = 99 }, 401, verify.ReasonExpired, invalidToken},
		"withdrawn": {func(s *scene) { s.grant.State = index.StateWithdrawn }, 401,
			verify.ReasonTenantChanged, invalidToken},
		"tenant unknown": {func(s *scene) { delete(s.tenants, acme) }, 401, verify.ReasonTenantChanged, invalidToken},
		"tenant suspended": {func(s *scene) { s.tenants[acme].Suspended = true }, 401,
			verify.ReasonTenantSuspended, invalidToken},

		"tenant missing": {func(s *scene) { s.request.TenantID = nil }, 401, verify.ReasonTenantMissing, invalidRequest},
		"tenant malformed": {func(s *scene) { s.request.TenantID = []string{"acme"} }, 401,
			verify.ReasonTenantMalformed, invalidRequest},

		"other tenant's key": {func(s *scene) { s.request.TenantID = []string{globex} }, 403,
			verify.ReasonWrongTenant, noChallenge},
		"address not allowed": {func(s *scene) { s.grant.Allowlists[0] = allow("192.0.2.0/24") },
			403, verify.ReasonAddressNotAllowed, noChallenge},
		"route not declared": {func(s *scene) { s.request.Target = "/other" }, 403, verify.ReasonNoRoute, noChallenge},
		"host not declared":  {func(s *scene) { s.request.Host = "www.example.com" }, 403, verify.ReasonNoRoute, noChallenge},
		"not a host": {func(s *scene) { s.request.Host = "api.example.com@evil" }, 403,
			verify.ReasonNoRoute, noChallenge},
		"path ambiguous": {func(s *scene) { s.request.Target = "/api//products" }, 403,
			verify.ReasonPathAmbiguous, noChallenge},
		"query malformed": {func(s *scene) { s.request.Target += "?a b" }, 403, verify.ReasonQueryMalformed, noChallenge},
		"too long": {func(s *scene) { s.request.Target += "?" + strings.Repeat("a", 8300) }, 403,
			verify.ReasonTargetTooLong, noChallenge},
		"no host": {func(s *scene) { s.request.Host = "" }, 403, verify.ReasonHostMissing, noChallenge},
		"header nominated": {func(s *scene) { s.request.Connection = []string{"close, X-Tenant-ID"} },
			403, verify.ReasonHeaderNominated, noChallenge},

		"scope missing": {func(s *scene) { s.request.Method = "POST" }, 403, verify.ReasonScopeMissing, insufficientScope},

		"stale":      {func(s *scene) { s.freshness = verify.Stale }, 403, verify.ReasonUnavailable, noChallenge},
		"not synced": {func(s *scene) { s.freshness = verify.NotSynced }, 403, verify.ReasonUnavailable, noChallenge},
	} {
		t.Run(name, func(t *testing.T) {
			got := decideAfter(test.change)
			wantReason(t, got, test.reason)
			if got.Status() != test.status {
				t.Errorf("status %d, want %d", got.Status(), test.status)
			}
			challenge := got.Challenge(host)
			whole := test.challenge == noChallenge || test.challenge == noCode
			if whole && challenge != test.challenge || len(challenge) < len(test.challenge) ||
				challenge[:len(test.challenge)] != test.challenge {
				t.Errorf("challenge %s, want %s", challenge, test.challenge)
			}
		})
	}
}

// faults are in the order in which they are checked: if there are several, the first one determines what the caller
// learns.
var faults = []struct {
	name   string
	cause  func(*scene)
	reason verify.Reason
}{
	{"header nominated", func(s *scene) { s.request.Connection = []string{"Authorization"} },
		verify.ReasonHeaderNominated},
	{"two credentials", func(s *scene) { s.request.Authorization = append(bearer(acmeKey), "Bearer") },
		verify.ReasonDuplicateCredentials},
	{"no credentials", func(s *scene) { s.request.Authorization = nil }, verify.ReasonNoCredentials},
	{"tenant missing", func(s *scene) { s.request.TenantID = nil }, verify.ReasonTenantMissing},
	{"tenant malformed", func(s *scene) { s.request.TenantID = []string{"acme"} }, verify.ReasonTenantMalformed},
	{"malformed token", func(s *scene) { s.request.Authorization = bearer("nxc_live_x") }, verify.ReasonMalformedToken},
	{"not synced", func(s *scene) { s.freshness = verify.NotSynced }, verify.ReasonUnavailable},
	{"unknown token", func(s *scene) { s.request.Authorization = bearer(unknownKey) }, verify.ReasonUnknownToken},
	{"revoked", func(s *scene) { s.grant.State = index.StateRevoked }, verify.ReasonRevoked},
	{"expired", func(s *scene) { s.grant.NotAfter = noon.UnixNano() }, verify.ReasonExpired},
	{"tenant unknown", func(s *scene) { delete(s.tenants, acme) }, verify.ReasonTenantChanged},
	{"tenant suspended", func(s *scene) { s.tenants[acme] = &index.Tenant{Suspended: true} },
		verify.ReasonTenantSuspended},
	{"wrong tenant", func(s *scene) { s.request.TenantID = []string{globex} }, verify.ReasonWrongTenant},
	{"address", func(s *scene) { s.grant.Allowlists[1] = allow("192.0.2.0/24") }, verify.ReasonAddressNotAllowed},
	{"path ambiguous", func(s *scene) { s.request.Target = "/api/../admin" }, verify.ReasonPathAmbiguous},
	{"no route", func(s *scene) { s.request.Host = "www.example.com" }, verify.ReasonNoRoute},
	{"scope missing", func(s *scene) { s.request.Method = "POST" }, verify.ReasonScopeMissing},
	{"stale", func(s *scene) { s.freshness = verify.Stale }, verify.ReasonUnavailable},
}

// TestOrder combines every two faults, and checks that a third one doesn't change the order of two.
func TestOrder(t *testing.T) {
	for i, first := range faults {
		wantReason(t, decideAfter(first.cause), first.reason)
		for _, later := range faults[i+1:] {
			t.Run(fmt.Sprintf("%s before %s", first.name, later.name), func(t *testing.T) {
				want := first.reason
				if first.name == "unknown token" && later.name == "stale" {
					want = verify.ReasonUnavailable // It may have been minted since.
				}
				wantReason(t, decideAfter(func(s *scene) { later.cause(s); first.cause(s) }), want)
			})
		}
	}
	for i, first := range faults {
		t.Run("everything from "+first.name+" on", func(t *testing.T) {
			got := decideAfter(func(s *scene) {
				for later := len(faults) - 1; later >= i; later-- {
					faults[later].cause(s)
				}
			})
			if first.name == "unknown token" {
				wantReason(t, got, verify.ReasonUnavailable) // As above.
				return
			}
			wantReason(t, got, first.reason)
		})
	}
}

// TestStaleRefusesAtOnce checks that a refusal needs no fresh index: a key that is known to be revoked is refused as
// revoked.
func TestStaleRefusesAtOnce(t *testing.T) {
	for _, fault := range faults {
		if fault.reason == verify.ReasonUnknownToken {
			continue
		}
		t.Run(fault.name, func(t *testing.T) {
			wantReason(t, decideAfter(func(s *scene) { s.freshness = verify.Stale; fault.cause(s) }), fault.reason)
		})
	}
}

func TestIdentity(t *testing.T) {
	for name, test := range map[string]struct {
		change   func(*scene)
		tenantID string
	}{
		"allowed": {func(*scene) {}, acme},
		"allowed, upper-case UUID": {func(s *scene) { s.request.TenantID = []string{"3714240B-2E06-4C35-8856-CCC1C096323E"} },
			acme},
		"forbidden": {func(s *scene) { s.request.Method = "POST" }, ""},
		"revoked":   {func(s *scene) { s.grant.State = index.StateRevoked }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			test.change(s)
			got := s.decide()
			if got.Grant != s.grant.Grant {
				t.Error("the key is not identified")
			}
			if got.TenantID != test.tenantID {
				t.Errorf("tenant %q, want %q", got.TenantID, test.tenantID)
			}
		})
	}
	for _, reason := range []string{"no credentials", "tenant malformed", "malformed token", "unknown token",
		"not synced", "stale"} {
		for _, fault := range faults {
			if fault.name == reason && decideAfter(fault.cause).Grant != (index.Grant{}) {
				t.Errorf("%s: a key is identified", reason)
			}
		}
	}
}

func TestDigestClaims(t *testing.T) {
	hour := time.Hour
	for name, test := range map[string]struct {
		change func(*scene)
		reason verify.Reason
		holder string // blank for nobody
	}{
		"older claim of another tenant": {func(s *scene) {
			s.claim("evil/a", globex, acmeKey, 9999*hour).State = index.StateRevoked
		},
			verify.ReasonAllowed, "shop/warehouse"},
		"younger claim of another tenant": {func(s *scene) { s.claim("evil/a", globex, acmeKey, hour) },
			verify.ReasonAllowed, "shop/warehouse"},
		"two tenants, the header picks": {func(s *scene) {
			s.claim("evil/a", globex, acmeKey, hour)
			s.request.TenantID = []string{globex}
		}, verify.ReasonAllowed, "evil/a"},
		"two tenants, neither is the header's": {func(s *scene) {
			s.claim("evil/a", globex, acmeKey, 9999*hour)
			s.request.TenantID = []string{"00000000-0000-0000-0000-000000000000"}
		}, verify.ReasonWrongTenant, ""},
		"twice in a tenant, older answers": {func(s *scene) {
			s.claim("shop/older", acme, acmeKey, 9999*hour).State = index.StateSuspended
		},
			verify.ReasonSuspended, "shop/older"},
		"twice in a tenant, younger does not": {func(s *scene) {
			s.claim("shop/younger", acme, acmeKey, hour).State = index.StateRevoked
		},
			verify.ReasonAllowed, "shop/warehouse"},
		"younger can't revive a revoked one": {func(s *scene) {
			s.grant.State = index.StateRevoked
			s.claim("shop/younger", acme, acmeKey, hour)
		}, verify.ReasonRevoked, "shop/warehouse"},
		"twice in a tenant and in another": {func(s *scene) {
			s.claim("evil/a", globex, acmeKey, 9999*hour)
			s.claim("shop/younger", acme, acmeKey, hour).Granted = nil
		}, verify.ReasonAllowed, "shop/warehouse"},
	} {
		t.Run(name, func(t *testing.T) {
			got := decideAfter(test.change)
			wantReason(t, got, test.reason)
			if got.Grant.Name != test.holder {
				t.Errorf("held by %q, want %q", got.Grant.Name, test.holder)
			}
		})
	}
}
