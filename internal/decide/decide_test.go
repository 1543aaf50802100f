package decide_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/audit"
	"github.com/nexuscommerce/apikey-operator/internal/clock"
	"github.com/nexuscommerce/apikey-operator/internal/decide"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/tracing"
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

// harness is a decider with one key, which expires in an hour, and a clock that tests move.
type harness struct {
	*decide.Decider
	registry *prometheus.Registry
	view     *index.View
	source   source
	now      time.Time
	// step is how far the clock advances each time it is read.
	step time.Duration
	key  string
}

func newHarness(t testing.TB) *harness {
	t.Helper()
	return newHarnessWith(t, decide.Options{})
}

// newHarnessWith returns a harness with the given options; view, source, clock and registry are the harness' own.
func newHarnessWith(t testing.TB, options decide.Options) *harness {
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
	h.view.SetTenants(index.Tenants{tenant: {}})
	h.view.Credentials.Put("a/key", []*index.Claim{{
		Grant:   index.Grant{Name: "a/key", Tenant: tenant, NotAfter: noon.Add(time.Hour).UnixNano()},
		Digest:  key.Digest(),
		Granted: []keysv1alpha1.Scope{"products:read"}, Asked: []keysv1alpha1.Scope{"products:read"},
	}})
	options.View, options.Source, options.Registry = h.view, &h.source, h.registry
	options.Clock = func() time.Time {
		h.now = h.now.Add(h.step)
		return h.now
	}
	h.Decider = decide.New(options)
	return h
}

// setUsageSlot gives the harness' key a usage slot.
func (h *harness) setUsageSlot(slot index.UsageSlot) {
	before := h.view.Credentials.Find(func(*index.Claim) bool { return true })
	after := *before[0]
	after.UsageSlot = slot
	h.view.Credentials.Put("a/key", []*index.Claim{&after})
}

func (h *harness) request(key string) *verify.Request {
	return &verify.Request{
		Authorization: []string{"Bearer " + key}, TenantID: []string{acme},
		FixedScopes: []keysv1alpha1.Scope{"products:read"},
	}
}

// series returns the values of every metric by its labels, such as "outcome=allow reason=allowed".
func (h *harness) series(t *testing.T) map[string]map[string]float64 {
	t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]float64{}
	for _, family := range families {
		values := map[string]float64{}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			// Only one of them is set.
			values[strings.Join(labels, " ")] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() +
				float64(metric.GetHistogram().GetSampleCount())
		}
		all[family.GetName()] = values
	}
	return all
}

func wantReason(t testing.TB, got verify.Decision, want verify.Reason) {
	t.Helper()
	if got.Reason != want {
		t.Errorf("reason %s, want %s", got.Reason, want)
	}
}

// TestDecideUsesTheTimeOfTheRequest checks that both the key's expiry and the index's freshness are compared with the
// clock at the time of the request.
func TestDecideUsesTheTimeOfTheRequest(t *testing.T) {
	h := newHarness(t)
	wantReason(t, h.Decide("nginx", h.request(h.key)), verify.ReasonAllowed)
	h.now = noon.Add(time.Hour - 1)
	wantReason(t, h.Decide("nginx", h.request(h.key)), verify.ReasonAllowed)
	h.now = noon.Add(time.Hour)
	wantReason(t, h.Decide("nginx", h.request(h.key)), verify.ReasonExpired)
	h.now, h.source.until = noon, noon.Add(-1)
	wantReason(t, h.Decide("nginx", h.request(h.key)), verify.ReasonUnavailable)
}

// TestExpiredStaysExpired checks that an expired key stays expired when the wall clock is set.
func TestExpiredStaysExpired(t *testing.T) {
	for name, test := range map[string]struct {
		at   []time.Duration // the wall clock at each request, relative to noon
		want []verify.Reason
	}{
		"back by an hour after it has expired": {
			[]time.Duration{0, time.Hour, time.Minute},
			[]verify.Reason{verify.ReasonAllowed, verify.ReasonExpired, verify.ReasonExpired},
		},
		"forward by an hour, then corrected": {
			[]time.Duration{0, time.Hour + time.Minute, 2 * time.Minute},
			[]verify.Reason{verify.ReasonAllowed, verify.ReasonExpired, verify.ReasonExpired},
		},
		"back by an hour before it expires": {
			[]time.Duration{59 * time.Minute, -time.Minute, -30 * time.Second, 0},
			[]verify.Reason{verify.ReasonAllowed, verify.ReasonAllowed, verify.ReasonExpired, verify.ReasonExpired},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			var wall, elapsed time.Duration
			now := clock.From(noon, func() (time.Time, time.Duration) { return noon.Add(wall), elapsed }).Now
			decider := decide.New(decide.Options{
				View: h.view, Source: &h.source, Clock: now, Registry: prometheus.NewRegistry(),
			})
			elapsed = max(test.at[0], 0)
			for i, at := range test.at {
				wall = at
				if got := decider.Decide("nginx", h.request(h.key)); got.Reason != test.want[i] {
					t.Errorf("at %s: %s, want %s", at, got.Reason, test.want[i])
				}
				elapsed += 30 * time.Second
			}
		})
	}
}

// TestDecideReadsTheLiveIndex checks that changes to the index take effect with the next request.
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

	want := map[string]float64{
		"outcome=allow reason=allowed surface=forward":                1,
		"outcome=allow reason=allowed surface=nginx":                  2,
		"outcome=forbidden reason=proxy_misconfigured surface=nginx":  1,
		"outcome=unauthorized reason=malformed_token surface=forward": 1,
		"outcome=unauthorized reason=no_credentials surface=forward":  1,
		"outcome=unavailable reason=unavailable surface=nginx":        1,
	}
	if got := h.series(t)["apikey_verifier_decisions_total"]; !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// TestDecisionsAreTimed checks that decisions are timed by the injected clock, from beginning to end.
func TestDecisionsAreTimed(t *testing.T) {
	h := newHarness(t)
	h.step = 3 * time.Microsecond
	h.Decide("nginx", h.request(h.key))
	h.Decide("nginx", h.request(h.key))
	h.Decide("nginx", h.request("junk"))
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "apikey_verifier_decision_duration_seconds" {
			continue
		}
		allowed := family.GetMetric()[0].GetHistogram()
		if allowed.GetSampleCount() != 2 || allowed.GetSampleSum() != 6e-6 {
			t.Errorf("%d decisions in %v s, want 2 in 6 µs", allowed.GetSampleCount(), allowed.GetSampleSum())
		}
		for _, bucket := range allowed.GetBucket() {
			if (bucket.GetUpperBound() > 3e-6) != (bucket.GetCumulativeCount() == 2) {
				t.Errorf("%d take up to %v s", bucket.GetCumulativeCount(), bucket.GetUpperBound())
			}
		}
	}
}

// recorder records the uses of one slot.
type recorder struct {
	slot  index.UsageSlot
	times []time.Time
}

func (r *recorder) Used(slot index.UsageSlot, at time.Time) {
	if slot == r.slot {
		r.times = append(r.times, at)
	}
}

// TestUsesAreRecorded checks that allowed requests are recorded as uses, and nothing else.
func TestUsesAreRecorded(t *testing.T) {
	uses := &recorder{slot: 7}
	h := newHarnessWith(t, decide.Options{Uses: uses})
	h.setUsageSlot(7)
	h.Decide("nginx", h.request(h.key))
	h.now = noon.Add(time.Minute)
	h.Identify("introspect", h.key, nil, netip.Addr{})
	want := []time.Time{noon, noon.Add(time.Minute)}
	if !slices.Equal(uses.times, want) {
		t.Errorf("used at %s, want %s", uses.times, want)
	}

	lacking := h.request(h.key)
	lacking.FixedScopes = []keysv1alpha1.Scope{"orders:read"}
	h.Decide("nginx", lacking)
	other := h.request(h.key)
	other.TenantID = []string{"11111111-1111-4111-8111-111111111111"}
	h.Decide("nginx", other)
	h.Decide("nginx", h.request("junk"))
	h.Explain(h.view.Credentials.Find(func(*index.Claim) bool { return true })[0], h.request(h.key))
	h.source.until = noon.Add(-1)
	h.Decide("nginx", h.request(h.key))
	h.now = noon.Add(time.Hour)
	h.Decide("nginx", h.request(h.key))
	if !slices.Equal(uses.times, want) {
		t.Errorf("refused or explained requests are recorded as uses: %s", uses.times)
	}
}

func TestDecisionsAreAudited(t *testing.T) {
	var lines bytes.Buffer
	log := audit.New(audit.Options{
		To: &lines, SampleAllowed: 1, Log: logr.Discard(), Registry: prometheus.NewRegistry(),
	})
	h := newHarnessWith(t, decide.Options{Audit: log})
	h.Decide("nginx", h.request(h.key))
	h.Refuse("forward", verify.ReasonMisconfigured)
	h.Identify("introspect", "junk", nil, netip.MustParseAddr("203.0.113.7"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	log.Start(ctx, time.Minute)
	for n, want := range []string{
		`"surface":"nginx","outcome":"allow","reason":"allowed","tenant":"` + acme + `","key":"a/key"`,
		`"surface":"forward","outcome":"forbidden","reason":"proxy_misconfigured"}`,
		`"surface":"introspect","outcome":"unauthorized","reason":"malformed_token","client":"203.0.113.7"}`,
	} {
		if got := strings.Split(lines.String(), "\n")[n]; !strings.Contains(got, want) {
			t.Errorf("line %s, want %s", got, want)
		}
	}
}

func TestRefuseNeverAllows(t *testing.T) {
	h := newHarness(t)
	for _, reason := range []verify.Reason{
		verify.ReasonMisconfigured, verify.ReasonHeaderNominated, verify.ReasonAllowed, "",
	} {
		if got := h.Refuse("nginx", reason); got.Status() != 403 || got.Outcome == verify.Allow {
			t.Errorf("status %d for reason %q", got.Status(), reason)
		}
	}
}

// TestLabelsAreBounded decides requests with a thousand keys, tenants, hosts and paths. None of these may become a
// label.
func TestLabelsAreBounded(t *testing.T) {
	h := newHarness(t)
	for n := range 1000 {
		request := h.request(h.key)
		request.FixedScopes = nil
		request.Host, request.Method, request.Target = fmt.Sprint("host-", n), fmt.Sprint("M", n), fmt.Sprint("/", n)
		wantReason(t, h.Decide("nginx", request), verify.ReasonNoRoute)
		request = h.request(fmt.Sprint("key-", n))
		request.TenantID = []string{fmt.Sprintf("00000000-0000-0000-0000-%012d", n)}
		wantReason(t, h.Decide("nginx", request), verify.ReasonMalformedToken)
	}
	want := []string{
		"outcome=forbidden reason=route_not_declared surface=nginx",
		"outcome=unauthorized reason=malformed_token surface=nginx",
	}
	all := h.series(t)
	if got := slices.Sorted(maps.Keys(all["apikey_verifier_decisions_total"])); !slices.Equal(got, want) {
		t.Errorf("decisions are counted by %q, want %q", got, want)
	}
	want = []string{"outcome=forbidden surface=nginx", "outcome=unauthorized surface=nginx"}
	if got := slices.Sorted(maps.Keys(all["apikey_verifier_decision_duration_seconds"])); !slices.Equal(got, want) {
		t.Errorf("their duration is measured by %q, want %q", got, want)
	}
	for name, series := range all {
		if !strings.HasPrefix(name, "apikey_verifier_decision") && len(series) != 1 {
			t.Errorf("%s has %d series", name, len(series))
		}
	}
}

func TestGauges(t *testing.T) {
	h := newHarness(t)
	want := func(credentials, tenants, asOf float64) {
		t.Helper()
		all := h.series(t)
		for name, value := range map[string]float64{
			"apikey_verifier_index_credentials":             credentials,
			"apikey_verifier_index_tenants":                 tenants,
			"apikey_verifier_fresh_as_of_timestamp_seconds": asOf,
		} {
			if got := all[name]; !maps.Equal(got, map[string]float64{"": value}) {
				t.Errorf("%s is %v, want %v", name, got, value)
			}
		}
	}
	want(1, 1, 0)
	h.source.asOf = time.Unix(1_000_000, 500_000_000)
	h.view.Credentials.Put("a/key", nil)
	h.view.SetTenants(index.Tenants{})
	want(0, 0, 1_000_000.5)
}

func TestDecisionsAreTraced(t *testing.T) {
	var spans bytes.Buffer
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = spans.ReadFrom(r.Body)
	}))
	defer collector.Close()
	tracer, err := tracing.New(t.Context(),
		tracing.Options{Endpoint: collector.URL, Name: "verifier-1", Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	h := newHarnessWith(t, decide.Options{Tracer: tracer})
	h.Decide("nginx", h.request(h.key))
	h.Refuse("forward", verify.ReasonMisconfigured)
	h.Identify("introspect", "junk", nil, netip.Addr{})
	if err := tracer.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"nginx", "allowed", "forward", "proxy_misconfigured", "introspect", "malformed_token"} {
		if !bytes.Contains(spans.Bytes(), []byte(want)) {
			t.Errorf("no span has %s", want)
		}
	}
	if bytes.Contains(spans.Bytes(), []byte(h.key)) || bytes.Contains(spans.Bytes(), []byte(acme)) {
		t.Error("a span reveals the key or its tenant")
	}
}
