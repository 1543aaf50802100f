package verify_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// TestS6ExpiredIsRefused fails without the line `case now.UnixNano() >= grant.NotAfter:` in refusedByState, or with >
// instead of >=. Nothing but the time changes; no controller is involved.
func TestS6ExpiredIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		notAfter int64
		now      time.Time
		reason   verify.Reason
	}{
		"a nanosecond before":    {noon.UnixNano(), noon.Add(-1), verify.ReasonAllowed},
		"at the very nanosecond": {noon.UnixNano(), noon, verify.ReasonExpired},
		"a nanosecond after":     {noon.UnixNano(), noon.Add(1), verify.ReasonExpired},
		"a year after":           {noon.UnixNano(), noon.AddDate(1, 0, 0), verify.ReasonExpired},
		"in another time zone":   {noon.UnixNano(), noon.In(time.FixedZone("", -12*60*60)), verify.ReasonExpired},
		"before 1970":            {noon.UnixNano(), time.Unix(-1, 0), verify.ReasonAllowed},
		"never":                  {index.Never, noon.AddDate(200, 0, 0), verify.ReasonAllowed},
		"a blank expiry":         {0, noon, verify.ReasonExpired},
	} {
		t.Run(name, func(t *testing.T) {
			wantReason(t, decideAfter(func(s *scene) { s.grant.NotAfter, s.now = test.notAfter, test.now }), test.reason)
		})
	}
}

// TestTimeIsAnArgument decides the same request at different times.
func TestTimeIsAnArgument(t *testing.T) {
	s := newScene()
	s.grant.NotAfter = noon.UnixNano()
	view := s.view()
	for offset, want := range map[time.Duration]verify.Reason{-time.Hour: verify.ReasonAllowed, -1: verify.ReasonAllowed,
		0: verify.ReasonExpired} {
		wantReason(t, verify.Decide(view, &s.request, verify.Fresh, noon.Add(offset)), want)
	}
}

// TestS6WrongTenantIsRefused fails without the lines `if grant.Tenant != tenantID { … }` in checkKey.
func TestS6WrongTenantIsRefused(t *testing.T) {
	for name, tenant := range map[string]string{
		"another tenant":         globex,
		"a tenant nobody knows":  "11111111-2222-3333-4444-555555555555",
		"the tenant of zeros":    "00000000-0000-0000-0000-000000000000",
		"the last digit differs": acme[:35] + "f",
	} {
		t.Run(name, func(t *testing.T) {
			wantReason(t, decideAfter(func(s *scene) { s.request.TenantID = []string{tenant} }), verify.ReasonWrongTenant)
		})
	}
}

// TestS6WrongAddressIsRefused fails without either of the two calls of allowed in checkKey: each list restricts on its
// own.
func TestS6WrongAddressIsRefused(t *testing.T) {
	const here, elsewhere, v6 = "203.0.113.0/24", "192.0.2.0/24", "2001:db8::/32"
	lists := map[string]func(*scene, index.Allowlist){
		"status": func(s *scene, list index.Allowlist) { s.grant.Allowlists[0] = list },
		"spec":   func(s *scene, list index.Allowlist) { s.grant.Allowlists[1] = list },
		"tenant": func(s *scene, list index.Allowlist) { s.tenants[acme].Allowlists = []index.Allowlist{list} },
		"tenant, the second object": func(s *scene, list index.Allowlist) {
			s.tenants[acme].Allowlists = []index.Allowlist{allow(), list}
		},
	}
	for name, test := range map[string]struct {
		list   index.Allowlist
		client netip.Addr
		reason verify.Reason
	}{
		"any":                        {allow(), client, verify.ReasonAllowed},
		"any, client unknown":        {allow(), netip.Addr{}, verify.ReasonAllowed},
		"here":                       {allow(here), client, verify.ReasonAllowed},
		"here, among others":         {allow(elsewhere, v6, here), client, verify.ReasonAllowed},
		"here, address mapped":       {allow(here), netip.MustParseAddr("::ffff:203.0.113.7"), verify.ReasonAllowed},
		"v6":                         {allow(v6), netip.MustParseAddr("2001:db8::7"), verify.ReasonAllowed},
		"elsewhere":                  {allow(elsewhere), client, verify.ReasonAddressNotAllowed},
		"elsewhere, v6":              {allow(v6), client, verify.ReasonAddressNotAllowed},
		"here, client unknown":       {allow(here), netip.Addr{}, verify.ReasonAddressNotAllowed},
		"a block that can't be read": {allow("banana"), client, verify.ReasonAddressNotAllowed},
		"every address, of one family": {allow("0.0.0.0/0"), netip.MustParseAddr("2001:db8::7"),
			verify.ReasonAddressNotAllowed},
	} {
		for of, set := range lists {
			t.Run(fmt.Sprintf("%s: %s", of, name), func(t *testing.T) {
				wantReason(t, decideAfter(func(s *scene) {
					s.request.Client = test.client
					set(s, test.list)
				}), test.reason)
			})
		}
	}
}

// TestS6UnderScopedIsRefused fails without the line `if !ok { … }` in checkKey, and without either of terms.Granted and
// terms.Asked before it.
func TestS6UnderScopedIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*scene)
		missing string // blank if the request is allowed
	}{
		"in both":                   {func(*scene) {}, ""},
		"in status but not in spec": {func(s *scene) { s.grant.Asked = scopes("orders:read") }, "products:read"},
		"in spec but not in status": {func(s *scene) { s.grant.Granted = scopes("orders:read") }, "products:read"},
		"in neither":                {func(s *scene) { s.grant.Granted, s.grant.Asked = nil, nil }, "products:read"},
		"nothing in status":         {func(s *scene) { s.grant.Granted = nil }, "products:read"},
		"nothing in spec":           {func(s *scene) { s.grant.Asked = nil }, "products:read"},
		"wildcard in status":        {func(s *scene) { s.grant.Granted = scopes("products:*") }, ""},
		"everything in spec":        {func(s *scene) { s.grant.Asked = scopes("*") }, ""},
		"everything in both":        {func(s *scene) { s.grant.Granted, s.grant.Asked = scopes("*"), scopes("*") }, ""},
		"another method":            {func(s *scene) { s.request.Method = "POST" }, "products:write"},
		"the header is not asked": {func(s *scene) { s.grant.ScopesHeader, s.request.Method = "*", "POST" },
			"products:write"},
		"two needed, both there": {func(s *scene) { s.request.Target = "/api/both" }, ""},
		"two needed, one granted": {func(s *scene) {
			s.request.Target, s.grant.Granted = "/api/both", scopes("products:read")
		}, "products:read orders:write"},
		"two needed, each in one of the lists": {func(s *scene) {
			s.request.Target, s.grant.Granted, s.grant.Asked = "/api/both", scopes("products:read"), scopes("orders:write")
		}, "products:read orders:write"},
		"either needed, one there": {func(s *scene) { s.request.Target = "/api/either" }, ""},
		"either needed, none there": {func(s *scene) {
			s.request.Target, s.grant.Asked = "/api/either", scopes("products:read")
		}, "pricing:read"},
		"fixed, there": {func(s *scene) { s.request.FixedScopes = scopes("orders:read", "orders:write") }, ""},
		"fixed, one not there": {func(s *scene) { s.request.FixedScopes = scopes("products:read", "pricing:read") },
			"products:read pricing:read"},
		"fixed, not in spec": {func(s *scene) {
			s.request.FixedScopes, s.grant.Asked = scopes("orders:read"),
				scopes("orders:write")
		}, "orders:read"},
		"fixed, not in status": {func(s *scene) {
			s.request.FixedScopes, s.grant.Granted = scopes("orders:read"),
				scopes("orders:write")
		}, "orders:read"},
		"fixed, everything needed": {func(s *scene) { s.request.FixedScopes = scopes("*") }, "*"},
	} {
		t.Run(name, func(t *testing.T) {
			got := decideAfter(test.change)
			if test.missing == "" {
				wantReason(t, got, verify.ReasonAllowed)
			} else {
				wantReason(t, got, verify.ReasonScopeMissing)
			}
			if got.MissingScope != test.missing {
				t.Errorf("missing %q, want %q", got.MissingScope, test.missing)
			}
		})
	}
}

// TestFixedScopesReplaceTheRoute checks that the route is ignored if the proxy's configuration fixes scopes.
func TestFixedScopesReplaceTheRoute(t *testing.T) {
	for name, change := range map[string]func(*scene){
		"no host, method or target": func(s *scene) { s.request.Host, s.request.Method, s.request.Target = "", "", "" },
		"a path that is ambiguous":  func(s *scene) { s.request.Target = "/api/../admin" },
		"a route that needs more":   func(s *scene) { s.request.Method = "POST" },
		"a host without a policy":   func(s *scene) { s.request.Host = "www.example.com" },
	} {
		t.Run(name, func(t *testing.T) {
			wantReason(t, decideAfter(func(s *scene) {
				change(s)
				s.request.FixedScopes = scopes("products:read")
			}), verify.ReasonAllowed)
		})
	}
}

// everyWayToPass are the kinds of requests that a fresh index allows.
var everyWayToPass = map[string]func(*scene){
	"by a route":              func(*scene) {},
	"by fixed scopes":         func(s *scene) { s.request.FixedScopes = scopes("products:read") },
	"with everything granted": func(s *scene) { s.grant.Granted, s.grant.Asked = scopes("*"), scopes("*") },
	"anonymously": func(s *scene) {
		s.anonymous("/public")
		s.request.Target,
			s.request.Authorization = "/public", nil
	},
	"anonymously with a key": func(s *scene) { s.anonymous("/public"); s.request.Target = "/public" },
	"anonymously with bad ones": func(s *scene) {
		s.anonymous("/public")
		s.request.Target, s.request.Authorization = "/public", bearer("x")
	},
}

// TestS7NothingBeforeTheFirstSync fails without the lines `if d.Outcome == Allow && freshness != Fresh { … }` in
// requireFreshness (anonymous routes), and, if `if freshness == NotSynced { … }` in recognise is removed as well, for
// every request.
func TestS7NothingBeforeTheFirstSync(t *testing.T) {
	notFreshEnough(t, verify.NotSynced)
}

// TestS7NothingBeyondTheBound fails without the lines `if d.Outcome == Allow && freshness != Fresh { … }` in
// requireFreshness.
func TestS7NothingBeyondTheBound(t *testing.T) {
	notFreshEnough(t, verify.Stale)
}

// TestS1NothingWhileTheNameIsContested fails if requireFreshness refuses only what is stale or not synced: of two
// verifiers with one name, the controller may wait for neither.
func TestS1NothingWhileTheNameIsContested(t *testing.T) {
	notFreshEnough(t, verify.Contested)
}

func notFreshEnough(t *testing.T, freshness verify.Freshness) {
	for name, change := range everyWayToPass {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			change(s)
			if got := s.decide(); got.Outcome != verify.Allow {
				t.Fatalf("a fresh index refuses it, too: %s", got.Reason)
			}
			s.freshness = freshness
			got := s.decide()
			wantReason(t, got, verify.ReasonUnavailable)
			if got.Outcome != verify.Unavailable || got.Grant != (index.Grant{}) || got.TenantID != "" {
				t.Errorf("outcome %s, tenant %q", got.Outcome, got.TenantID)
			}
		})
	}
}

// TestS7TheZeroValuesRefuse checks that forgotten arguments allow nothing.
func TestS7TheZeroValuesRefuse(t *testing.T) {
	s := newScene()
	var freshness verify.Freshness
	wantReason(t, verify.Decide(s.view(), &s.request, freshness, noon), verify.ReasonUnavailable)
	wantReason(t, verify.Decide(index.NewView(), &s.request, verify.Fresh, noon), verify.ReasonUnknownToken)
	if got := verify.Decide(s.view(), &verify.Request{}, verify.Fresh, noon); got.Status() != 401 {
		t.Errorf("status %d for a request without anything", got.Status())
	}
	if got := (verify.Decision{}); got.Status() == 200 || got.Outcome == verify.Allow {
		t.Error("the zero Decision allows the request")
	}
}
