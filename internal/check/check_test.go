package check_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/check"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const acme = "3714240b-2e06-4c35-8856-ccc1c096323e"

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// source is fresh until a time.
type source struct {
	until, asOf time.Time
}

func (s *source) Freshness(now time.Time) verify.Freshness {
	if now.After(s.until) {
		return verify.Stale
	}
	return verify.Fresh
}

func (s *source) FreshAsOf() time.Time { return s.asOf }

// harness is a decider with one key, which expires in an hour, and a clock that stands still.
type harness struct {
	*check.Decider
	registry *prometheus.Registry
	view     *index.View
	source   source
	now      time.Time
	key      string
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	root, err := token.RootFrom(bytes.Repeat([]byte{7}, token.RootLength))
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.Derive(root, token.FormatLive, "uid", "AcmeKey1")
	if err != nil {
		t.Fatal(err)
	}
	tenant, _ := index.ParseTenantID(acme)
	h := &harness{
		registry: prometheus.NewRegistry(),
		view:     index.NewView(),
		source:   source{until: noon.AddDate(1, 0, 0)},
		now:      noon,
		key:      key.Reveal(),
	}
	h.view.SetTenants(index.Tenants{tenant: {IDHeader: acme}})
	h.view.Credentials.Put("a/key", []*index.Grant{{
		Digest: key.Digest(), Name: "a/key", Tenant: tenant, NotAfter: noon.Add(time.Hour).UnixNano(),
		Granted: []keysv1alpha1.Scope{"products:read"}, Asked: []keysv1alpha1.Scope{"products:read"},
	}})
	h.Decider = check.New(h.view, &h.source, func() time.Time { return h.now }, h.registry)
	return h
}

func (h *harness) request(key string) *verify.Request {
	return &verify.Request{
		Authorization: []string{"Bearer " + key}, TenantID: []string{acme}, FixedScopes: []keysv1alpha1.Scope{"products:read"},
	}
}

func wantReason(t *testing.T, got verify.Decision, want verify.Reason) {
	t.Helper()
	if got.Reason != want {
		t.Errorf("reason %s, want %s", got.Reason, want)
	}
}

// TestDecideTakesTheClockOnce checks that the key's expiry and the index's freshness are both held against the clock at
// the time of the request.
func TestDecideTakesTheClockOnce(t *testing.T) {
	h := newHarness(t)
	wantReason(t, h.Decide("nginx", h.request(h.key)), verify.ReasonAllowed)
	h.now = noon.Add(time.Hour - 1)
	wantReason(t, h.Decide("nginx", h.request(h.key)), verify.ReasonAllowed)
	h.now = noon.Add(time.Hour)
	wantReason(t, h.Decide("nginx", h.request(h.key)), verify.ReasonExpired)
	h.now, h.source.until = noon, noon.Add(-1)
	wantReason(t, h.Decide("nginx", h.request(h.key)), verify.ReasonUnavailable)
}

// TestDecideReadsTheLiveIndex checks that what the feed applies counts from the next request on.
func TestDecideReadsTheLiveIndex(t *testing.T) {
	h := newHarness(t)
	wantReason(t, h.Decide("nginx", h.request(h.key)), verify.ReasonAllowed)
	h.view.Credentials.Put("a/key", nil)
	wantReason(t, h.Decide("nginx", h.request(h.key)), verify.ReasonUnknownToken)
}

func TestDecisionsAreCounted(t *testing.T) {
	h := newHarness(t)
	h.Decide("nginx", h.request(h.key))
	h.Decide("nginx", h.request(h.key))
	h.Decide("forward", h.request(h.key))
	h.Decide("forward", h.request("junk"))
	h.Decide("forward", &verify.Request{})
	wantReason(t, h.Refuse("nginx", verify.ReasonMisconfigured), verify.ReasonMisconfigured)
	h.source.until = noon.Add(-1)
	h.Decide("nginx", h.request(h.key))

	want := `
# HELP apikey_verifier_decisions_total Decisions, by the surface that asked, the outcome and the reason.
# TYPE apikey_verifier_decisions_total counter
apikey_verifier_decisions_total{outcome="allow",reason="allowed",surface="forward"} 1
apikey_verifier_decisions_total{outcome="allow",reason="allowed",surface="nginx"} 2
apikey_verifier_decisions_total{outcome="forbidden",reason="proxy_misconfigured",surface="nginx"} 1
apikey_verifier_decisions_total{outcome="unauthorized",reason="malformed_token",surface="forward"} 1
apikey_verifier_decisions_total{outcome="unauthorized",reason="no_credentials",surface="forward"} 1
apikey_verifier_decisions_total{outcome="unavailable",reason="unavailable",surface="nginx"} 1
`
	if err := testutil.GatherAndCompare(h.registry, strings.NewReader(want), "apikey_verifier_decisions_total"); err != nil {
		t.Error(err)
	}
}

func TestRefuseNeverLetsPass(t *testing.T) {
	h := newHarness(t)
	for _, reason := range []verify.Reason{verify.ReasonMisconfigured, verify.ReasonHeaderNominated, verify.ReasonAllowed, ""} {
		if got := h.Refuse("nginx", reason); got.Status() != 403 || got.Outcome == verify.Allow {
			t.Errorf("status %d for reason %q", got.Status(), reason)
		}
	}
}

// TestLabelsAreBounded has a thousand keys, tenants, hosts and paths come by: none of them may become a label.
func TestLabelsAreBounded(t *testing.T) {
	h := newHarness(t)
	for n := range 1000 {
		request := h.request(h.key)
		request.FixedScopes = nil
		request.Host, request.Method, request.Target = fmt.Sprint("host-", n), fmt.Sprint("M", n), fmt.Sprint("/", n)
		h.Decide("nginx", request)
		request = h.request(fmt.Sprint("key-", n))
		h.Decide("nginx", request)
		request.TenantID = []string{fmt.Sprintf("00000000-0000-0000-0000-%012d", n)}
		h.Decide("nginx", request)
	}
	count, err := testutil.GatherAndCount(h.registry)
	if err != nil || count > 3+2 {
		t.Errorf("%d series, %v", count, err)
	}
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if text := family.String(); strings.Contains(text, h.key) || strings.Contains(text, acme) || strings.Contains(text, "host-") {
			t.Errorf("%s holds something of a request", family.GetName())
		}
	}
	if problems, err := testutil.GatherAndLint(h.registry); err != nil || len(problems) > 0 {
		t.Errorf("the metrics are not as they should be: %v, %v", problems, err)
	}
}

func TestGauges(t *testing.T) {
	h := newHarness(t)
	want := func(credentials, tenants int, asOf string) {
		t.Helper()
		text := fmt.Sprintf(`
# HELP apikey_verifier_fresh_as_of_timestamp_seconds Time before which everything that was committed is known to have been applied; 0 before the first proof.
# TYPE apikey_verifier_fresh_as_of_timestamp_seconds gauge
apikey_verifier_fresh_as_of_timestamp_seconds %s
# HELP apikey_verifier_index_credentials Credentials in the index.
# TYPE apikey_verifier_index_credentials gauge
apikey_verifier_index_credentials %d
# HELP apikey_verifier_index_tenants Tenants in the index.
# TYPE apikey_verifier_index_tenants gauge
apikey_verifier_index_tenants %d
`, asOf, credentials, tenants)
		if err := testutil.GatherAndCompare(h.registry, strings.NewReader(text), "apikey_verifier_fresh_as_of_timestamp_seconds",
			"apikey_verifier_index_credentials", "apikey_verifier_index_tenants"); err != nil {
			t.Error(err)
		}
	}
	want(1, 1, "0")
	h.source.asOf = time.Unix(1_000_000, 500_000_000)
	h.view.Credentials.Put("a/key", nil)
	h.view.SetTenants(index.Tenants{})
	want(0, 0, "1.0000005e+06")
}
