package verify_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

func (s *scene) identify(key string) verify.Decision {
	return verify.Identify(s.view(), key, s.request.Client, s.freshness, s.now)
}

func TestIdentify(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*scene)
		reason verify.Reason
	}{
		"active":                        {func(*scene) {}, verify.ReasonAllowed},
		"no tenant is named":            {func(s *scene) { s.request.TenantID = nil }, verify.ReasonAllowed},
		"no route is asked about":       {func(s *scene) { s.rules = nil }, verify.ReasonAllowed},
		"no scopes":                     {func(s *scene) { s.grant.Granted, s.grant.Asked = nil, nil }, verify.ReasonAllowed},
		"suspended":                     {func(s *scene) { s.grant.State = index.StateSuspended }, verify.ReasonSuspended},
		"revoked":                       {func(s *scene) { s.grant.State = index.StateRevoked }, verify.ReasonRevoked},
		"being deleted":                 {func(s *scene) { s.grant.State = index.StateDeleting }, verify.ReasonDeleted},
		"expired by condition":          {func(s *scene) { s.grant.State = index.StateExpired }, verify.ReasonExpired},
		"expired by the clock":          {func(s *scene) { s.grant.NotAfter = noon.UnixNano() }, verify.ReasonExpired},
		"tenant changed":                {func(s *scene) { s.grant.State = index.StateWithdrawn }, verify.ReasonTenantChanged},
		"tenant gone":                   {func(s *scene) { delete(s.tenants, acme) }, verify.ReasonTenantChanged},
		"tenant suspended":              {func(s *scene) { s.tenants[acme].Suspended = true }, verify.ReasonTenantSuspended},
		"address not on status' list":   {func(s *scene) { s.grant.Allowlists[0] = allow("192.0.2.0/24") }, verify.ReasonAddressNotAllowed},
		"address not on spec's list":    {func(s *scene) { s.grant.Allowlists[1] = allow("192.0.2.0/24") }, verify.ReasonAddressNotAllowed},
		"address not on the tenant's":   {func(s *scene) { s.tenants[acme].Allowlists = []index.Allowlist{allow("192.0.2.0/24")} }, verify.ReasonAddressNotAllowed},
		"address on all lists":          {func(s *scene) { s.grant.Allowlists[0] = allow("203.0.113.0/24") }, verify.ReasonAllowed},
		"address not known":             {func(s *scene) { s.grant.Allowlists[0], s.request.Client = allow("203.0.113.0/24"), netip.Addr{} }, verify.ReasonAddressNotAllowed},
		"address not known nor limited": {func(s *scene) { s.request.Client = netip.Addr{} }, verify.ReasonAllowed},
		"not fresh":                     {func(s *scene) { s.freshness = verify.Stale }, verify.ReasonUnavailable},
		"not synced":                    {func(s *scene) { s.freshness = verify.NotSynced }, verify.ReasonUnavailable},
		"revoked, and not fresh":        {func(s *scene) { s.grant.State, s.freshness = index.StateRevoked, verify.Stale }, verify.ReasonRevoked},
		"an anonymous route is no key":  {func(s *scene) { s.anonymous("/"); s.grant.State = index.StateRevoked }, verify.ReasonRevoked},
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
		"": verify.ReasonMalformedToken, acmeKey + "x": verify.ReasonMalformedToken, "Bearer " + acmeKey: verify.ReasonMalformedToken,
		unknownKey: verify.ReasonUnknownToken,
	} {
		wantReason(t, newScene().identify(key), reason)
	}
	s := newScene()
	s.freshness = verify.Stale
	wantReason(t, s.identify(unknownKey), verify.ReasonUnavailable)
}

// TestTheOldestClaimAnswers fails where recognise asks for a tenant's own claim: whoever brings the digest of another's
// token along later must not be what that token stands for.
func TestTheOldestClaimAnswers(t *testing.T) {
	s := newScene()
	s.claim("other/thief", globex, acmeKey, time.Hour) // The key is a month old.
	if got := s.identify(acmeKey); got.Grant.Name != "shop/warehouse" {
		t.Errorf("answered by %+v", got.Grant)
	}
	s.claim("other/first", globex, acmeKey, 365*24*time.Hour)
	if got := s.identify(acmeKey); got.Grant.Name != "other/first" || got.TenantID != globex {
		t.Errorf("answered by %+v", got.Grant)
	}
}
