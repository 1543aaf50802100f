package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-logr/logr"
	"github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// sink is a writer that can be made to hang or to fail.
type sink struct {
	mu    sync.Mutex
	lines bytes.Buffer
	fail  error
	hang  chan struct{}
	// half means that a failing write writes half.
	half bool
}

func (s *sink) Write(p []byte) (int, error) {
	if s.hang != nil {
		<-s.hang
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if s.half {
			s.lines.Write(p[:len(p)/2])
		}
		return 0, s.fail
	}
	return s.lines.Write(p)
}

func (s *sink) entries(t *testing.T) []Entry {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var entries []Entry
	for line := range strings.Lines(s.lines.String()) {
		var e Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		entries = append(entries, e)
	}
	return entries
}

type harness struct {
	*Log
	sink     *sink
	registry *prometheus.Registry
	stop     func()
}

// start starts a log, and stops it at the end of the test.
func start(t *testing.T, s *sink, sampleAllowed float64) *harness {
	t.Helper()
	h := &harness{sink: s, registry: prometheus.NewRegistry()}
	h.Log = New(Options{To: s, SampleAllowed: sampleAllowed, Log: logr.Discard(), Registry: h.registry})
	ctx, cancel := context.WithCancel(context.Background())
	done, drainTimeout := make(chan struct{}), time.Minute
	if s.hang != nil {
		drainTimeout = time.Millisecond
	}
	go func() {
		defer close(done)
		h.Start(ctx, drainTimeout)
	}()
	h.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(h.stop)
	return h
}

func (h *harness) counted(t *testing.T, result string) int {
	t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, metric := range families[0].GetMetric() {
		if metric.GetLabel()[0].GetValue() == result {
			return int(metric.GetCounter().GetValue())
		}
	}
	t.Fatalf("%s is not counted", result)
	return 0
}

func grant() index.Grant {
	tenant, _ := index.ParseTenantID("3714240B-2e06-4c35-8856-ccc1c096323e")
	return index.Grant{Name: "warehouse/catalog", CredentialID: "7Hk2PqZx", Tenant: tenant}
}

var (
	allowed = verify.Decision{Outcome: verify.Allow, Reason: verify.ReasonAllowed, Grant: grant()}
	refused = verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonUnknownToken}
)

func TestEntries(t *testing.T) {
	h := start(t, &sink{}, 1)
	h.Record(noon.In(time.FixedZone("", 3600)), "nginx", &verify.Request{
		Authorization: []string{"Bearer " + aToken(t)}, TenantID: []string{"x"}, Host: "api.example.com", Method: "GET",
		Target: "/api/products/7?page=2", Client: netip.MustParseAddr("203.0.113.7"),
	}, allowed)
	h.Record(noon, "forward", &verify.Request{Host: "api.example.com", Method: "POST", Target: "/x"}, refused)
	h.Record(noon, "nginx", &verify.Request{FixedScopes: []keysv1alpha1.Scope{"products:read"}}, verify.Decision{
		Outcome: verify.Forbidden, Reason: verify.ReasonScopeMissing, Grant: grant(), MissingScope: "products:read",
	})
	h.stop()
	const identity = `"tenant":"3714240b-2e06-4c35-8856-ccc1c096323e","key":"warehouse/catalog","credential":"7Hk2PqZx"`
	want := `{"time":"2026-03-01T12:00:00Z","surface":"nginx","outcome":"allow","reason":"allowed",` + identity +
		`,"method":"GET","host":"api.example.com","path":"/api/products/7","client":"203.0.113.7"}
{"time":"2026-03-01T12:00:00Z","surface":"forward","outcome":"unauthorized","reason":"unknown_token",` +
		`"method":"POST","host":"api.example.com","path":"/x"}
{"time":"2026-03-01T12:00:00Z","surface":"nginx","outcome":"forbidden","reason":"insufficient_scope",` + identity +
		`,"requiredScopes":["products:read"],"missingScopes":"products:read"}
`
	if got := h.sink.lines.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := h.counted(t, "written"); got != 3 {
		t.Errorf("%d counted", got)
	}
}

// TestSampling checks that only allowed requests are sampled.
func TestSampling(t *testing.T) {
	const requests = 2000
	for sample, within := range map[float64][2]int{0: {0, 0}, 0.25: {300, 700}, 1: {requests, requests}} {
		h := start(t, &sink{}, sample)
		for range requests {
			h.Record(noon, "nginx", &verify.Request{}, allowed)
		}
		h.Record(noon, "nginx", &verify.Request{}, refused)
		h.stop()
		passed := 0
		for _, e := range h.sink.entries(t) {
			if e.Outcome == "allow" {
				passed++
			}
		}
		if passed < within[0] || passed > within[1] {
			t.Errorf("sampled at %v, %d of %d are written", sample, passed, requests)
		}
		if got := len(h.sink.entries(t)); got != passed+1 {
			t.Errorf("sampled at %v, %d refusals are written, want 1", sample, got-passed)
		}
	}
}

// TestASlowDiskHoldsUpNobody checks that, while a writer hangs, what doesn't fit into the queue is dropped and counted,
// and that stopping doesn't wait.
func TestASlowDiskHoldsUpNobody(t *testing.T) {
	const requests = 2 * queueLength
	s := &sink{hang: make(chan struct{})}
	h := start(t, s, 1)
	for range requests {
		h.Record(noon, "nginx", &verify.Request{Target: "/" + strings.Repeat("x", 60_000)}, refused)
	}
	h.stop()
	dropped := h.counted(t, "queue_full")
	if dropped == 0 || dropped > requests-queueLength {
		t.Errorf("%d of %d were dropped", dropped, requests)
	}
	kept := 0
	for len(h.queue) > 0 {
		kept += len((<-h.queue).target)
	}
	if kept > queueLength*maxTarget {
		t.Errorf("%d bytes are kept of what clients sent", kept)
	}
	close(s.hang)
}

// TestAFullDisk checks that lines stay whole after a failed write.
func TestAFullDisk(t *testing.T) {
	s := &sink{fail: errors.New("no space left on device"), half: true}
	h := start(t, s, 1)
	h.Record(noon, "nginx", &verify.Request{Target: "/lost"}, refused)
	gomega.NewWithT(t).Eventually(
		func() int { return h.counted(t, "write_failed") }, time.Minute,
	).ShouldNot(gomega.BeZero())
	s.mu.Lock()
	s.fail = nil
	s.mu.Unlock()
	h.Record(noon, "nginx", &verify.Request{Target: "/kept"}, refused)
	h.stop()
	lines := strings.Split(s.lines.String(), "\n")
	var e Entry
	if len(lines) != 3 || json.Unmarshal([]byte(lines[1]), &e) != nil || e.Path != "/kept" {
		t.Errorf("lines %q", lines)
	}
}

// TestStoppingWritesWhatIsQueued checks that no entry that was queued before the end is lost.
func TestStoppingWritesWhatIsQueued(t *testing.T) {
	h := start(t, &sink{}, 1)
	for range queueLength / 2 {
		h.Record(noon, "nginx", &verify.Request{}, refused)
	}
	h.stop()
	if got := len(h.sink.entries(t)); got != queueLength/2 {
		t.Errorf("%d of %d were written", got, queueLength/2)
	}
}

// TestOneLineEach checks that no text of a client's can end a line or begin another.
func TestOneLineEach(t *testing.T) {
	h := start(t, &sink{}, 1)
	hostile := []string{
		"\n{\"outcome\":\"allow\"}\n", "%0a%0d{}", "\r", "\x00", "\xff\xfe", "\u2028", `"`, `\`, "</script>", "\x1b[2J",
		"%ff%fe",
	}
	for _, s := range hostile {
		h.Record(noon, "nginx", &verify.Request{Host: s, Method: s, Target: s}, refused)
	}
	h.stop()
	written := h.sink.lines.String()
	if !utf8.ValidString(written) || strings.ContainsAny(written, "\r\x00\x1b\u2028<") {
		t.Errorf("%q", written)
	}
	if got := len(h.sink.entries(t)); got != len(hostile) || strings.Count(written, "\n") != len(hostile) {
		t.Errorf("%d lines for %d entries", got, len(hostile))
	}
}

func aToken(t testing.TB) string {
	t.Helper()
	root, err := token.RootFrom(bytes.Repeat([]byte{7}, token.RootLength))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := token.Derive(root, token.FormatLive, "uid", "AcmeKey1")
	if err != nil {
		t.Fatal(err)
	}
	return tok.Reveal()
}

// encoded percent-encodes each byte, n times over.
func encoded(s string, n int) string {
	for range n {
		var b strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&b, "%%%02x", s[i])
		}
		s = b.String()
	}
	return s
}

// TestNoTokenIsWritten puts tokens wherever a client can.
func TestNoTokenIsWritten(t *testing.T) {
	tok := aToken(t)
	secret := tok[len("nxc_live_")+8 : len(tok)-6]
	for name, request := range map[string]verify.Request{
		"path":                  {Target: "/api/" + tok + "/x"},
		"query":                 {Target: "/api?token=" + tok},
		"fragment":              {Target: "/api#" + tok},
		"encoded question mark": {Target: "/api%3ftoken=" + tok},
		"query only":            {Target: "?" + tok},
		"encoded":               {Target: "/" + encoded(tok, 1)},
		"encoded twice":         {Target: "/" + encoded(tok, 2)},
		"encoded too often":     {Target: "/" + encoded(tok, 4)},
		"encoded in part":       {Target: "/nxc%5flive%5F" + tok[9:]},
		"host":                  {Host: tok + ".example.com"},
		"encoded host":          {Host: encoded(tok, 1)},
		"method":                {Method: tok},
		"user information":      {Target: "https://user:" + tok + "@example.com/"},
		"glued to a word":       {Target: "/x" + tok + "y_z"},
		"a typo at the end":     {Target: "/" + tok[:65] + "-"},
		"cut short":             {Target: "/" + tok[:len(tok)-20]},
		"without its format":    {Target: "/" + tok[9:]},
		"another format":        {Target: "/acme_" + tok[9:]},
		"the secret alone":      {Target: "/" + secret},
		"far down":              {Target: "/" + strings.Repeat("x/", maxPath) + tok},
		"across the end":        {Target: "/" + strings.Repeat("x/", maxPath/2-20) + tok},
		"across what is read":   {Target: "/" + strings.Repeat("x/", maxTarget/2-24) + tok},
		"the second":            {Target: "/" + tok + "/" + tok},
	} {
		h := start(t, &sink{}, 1)
		h.Record(noon, "nginx", &request, refused)
		h.stop()
		written := h.sink.lines.String()
		if entries := h.sink.entries(t); len(entries) != 1 {
			t.Errorf("%s: %d entries", name, len(entries))
		}
		for part := range len(secret) - 16 {
			if strings.Contains(written, secret[part:part+16]) {
				t.Errorf("%s: part of the token is written", name)
				break
			}
		}
	}
}

func TestPath(t *testing.T) {
	for target, want := range map[string]string{
		"":                     "",
		"/":                    "/",
		"/api/products":        "/api/products",
		"/api/products?page=2": "/api/products",
		"/a%2fb%20c":           "/a/b c",
		"/100%":                "/100%",
		"/%zz%4":               "/%zz%4",
		"/%C3%BC":              "/ü",
		"/a_b/c__d_":           "/a_b/c__d_",
		"/orders/3714240b-2e06-4c35-8856-ccc1c096323e": "/orders/3714240b-2e06-4c35-8856-ccc1c096323e",
		"/nxc_live_7Hk2PqZx":                           "/nxc_live_7Hk2PqZx",
		"/" + strings.Repeat("x", 50) + "/y":           "/[redacted]/y",
	} {
		if got := path(target); got != want {
			t.Errorf("%q is written as %q, want %q", target, got, want)
		}
	}
}

// FuzzPath looks for a path that gets a token into the log.
func FuzzPath(f *testing.F) {
	tok := aToken(f)
	f.Add("/api/", "/x", uint8(0))
	f.Add("/%", "", uint8(1))
	f.Add("/a?b=", "#", uint8(2))
	f.Add("_", "_", uint8(0))
	f.Fuzz(func(t *testing.T, before, after string, times uint8) {
		got := path(before + encoded(tok, int(times%4)) + after)
		if strings.Contains(got, tok) || strings.Contains(decode(decode(decode(got))), tok) {
			t.Error("the token is written")
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	log := New(Options{To: &sink{}, SampleAllowed: 1, Log: logr.Discard(), Registry: prometheus.NewRegistry()})
	go log.Start(b.Context(), 0)
	request := &verify.Request{Host: "api.example.com", Method: "GET", Target: "/api/products?page=2"}
	b.ReportAllocs()
	for b.Loop() {
		log.Record(noon, "nginx", request, allowed)
	}
}
