package tracing

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID      = "00f067aa0ba902b7"
	traceparent = "00-" + traceID + "-" + spanID + "-01"
	// aToken and aTenant must not be in a span.
	aToken  = "nxc_live_7Hk2PqZx0000000000000000000000000000000000000000000000000"
	aTenant = "3714240b-2e06-4c35-8856-ccc1c096323e"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func newRequest(traceparent ...string) *verify.Request {
	return &verify.Request{
		Authorization: []string{"Bearer " + aToken}, TenantID: []string{aTenant}, Traceparent: traceparent,
		Host: aToken + ".example.com", Method: aToken, Target: "/" + aToken + "?" + aToken,
	}
}

func allowed() verify.Decision {
	return verify.Decision{Outcome: verify.Allow, Reason: verify.ReasonAllowed, TenantID: aTenant, Grant: index.Grant{
		Name: "warehouse/key", CredentialID: "7Hk2PqZx",
	}}
}

// record returns the span of one decision.
func record(
	t *testing.T, request *verify.Request, decision verify.Decision, options ...sdktrace.TracerProviderOption,
) tracetest.SpanStubs {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	tracer := newTracer(append(options, sdktrace.WithSyncer(spans))...)
	tracer.Record(noon, noon.Add(2*time.Microsecond), "nginx", request, decision)
	return spans.GetSpans()
}

func TestSpans(t *testing.T) {
	for name, c := range map[string]struct {
		decision verify.Decision
		outcome  string
		status   codes.Code
	}{
		"allowed": {allowed(), "allow", codes.Unset},
		"refused": {
			verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonUnknownToken}, "unauthorized", codes.Unset,
		},
		"not to be checked": {
			verify.Decision{Outcome: verify.Unavailable, Reason: verify.ReasonUnavailable}, "unavailable", codes.Error,
		},
	} {
		span := record(t, newRequest(traceparent), c.decision)[0]
		if span.Name != "apikey.check" || span.SpanKind != trace.SpanKindServer || span.Status.Code != c.status ||
			!span.StartTime.Equal(noon) || span.EndTime.Sub(span.StartTime) != 2*time.Microsecond {
			t.Errorf("%s: span %+v", name, span)
		}
		got := map[string]string{}
		for _, a := range span.Attributes {
			got[string(a.Key)] = a.Value.AsString()
		}
		want := map[string]string{
			"apikey.surface": "nginx", "apikey.outcome": c.outcome, "apikey.reason": string(c.decision.Reason),
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: attributes %v", name, got)
		}
		trace, parentSpan := span.SpanContext.TraceID().String(), span.Parent
		if trace != traceID || parentSpan.SpanID().String() != spanID || !parentSpan.IsRemote() {
			t.Errorf("%s: trace %s, parent %s", name, span.SpanContext.TraceID(), span.Parent.SpanID())
		}
	}
}

// TestParents checks that a trace is continued if there is exactly one valid traceparent, and that a new one begins
// otherwise.
func TestParents(t *testing.T) {
	for name, c := range map[string]struct {
		traceparent []string
		continued   bool
	}{
		"none":           {nil, false},
		"one":            {[]string{traceparent}, true},
		"two":            {[]string{traceparent, traceparent}, false},
		"blank":          {[]string{""}, false},
		"a later form":   {[]string{"cc-" + traceID + "-" + spanID + "-01-more"}, true},
		"no trace":       {[]string{"00-" + strings.Repeat("0", 32) + "-" + spanID + "-01"}, false},
		"upper case":     {[]string{strings.ToUpper(traceparent)}, false},
		"too short":      {[]string{traceparent[:50]}, false},
		"too long":       {[]string{traceparent + "-x"}, false},
		"an odd version": {[]string{"ff" + traceparent[2:]}, false},
		"a token":        {[]string{aToken}, false},
	} {
		span := record(t, newRequest(c.traceparent...), allowed())[0]
		if got := span.SpanContext.TraceID().String() == traceID; got != c.continued {
			t.Errorf("%s: continued: %t", name, got)
		}
	}
	if spans := record(t, newRequest("00-"+traceID+"-"+spanID+"-00"), allowed()); len(spans) != 0 {
		t.Error("a trace that the proxy doesn't sample has a span")
	}
	if spans := record(t, newRequest(), allowed(), sdktrace.WithSampler(sdktrace.NeverSample())); len(spans) != 0 {
		t.Error("a span that isn't to be sampled is")
	}
}

// TestSent checks that a collector receives spans by OTLP, with nothing of the request or of the key in them.
func TestSent(t *testing.T) {
	for endpoint, want := range map[string]string{
		"": "/v1/traces", "/": "/v1/traces", "/otlp/v1/traces": "/otlp/v1/traces",
	} {
		t.Run(endpoint, func(t *testing.T) { testSent(t, endpoint, want) })
	}
	t.Run("by the environment", func(t *testing.T) { testSent(t, "environment", "/v1/traces") })
}

func testSent(t *testing.T, endpoint, want string) {
	t.Helper()
	var path string
	var body []byte
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		body, _ = io.ReadAll(r.Body)
	}))
	defer collector.Close()
	endpoint = collector.URL + endpoint
	if strings.HasSuffix(endpoint, "environment") {
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
		endpoint = ""
	}
	tracer, err := New(t.Context(), Options{Endpoint: endpoint, Name: "verifier-1", Version: "v1", Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	tracer.Record(noon, noon, "nginx", newRequest(traceparent), allowed())
	if err := tracer.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if path != want {
		t.Errorf("sent to %q, want %q", path, want)
	}
	for _, want := range []string{"apikey.check", "apikey.outcome", "allow", "apikey-verifier", "verifier-1"} {
		if !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s is not in what was sent", want)
		}
	}
	for _, secret := range []string{"7Hk2PqZx", aTenant, "warehouse", "example.com"} {
		if bytes.Contains(body, []byte(secret)) {
			t.Errorf("%s is in what was sent", secret)
		}
	}
}

// TestACollectorThatHangsHoldsUpNobody checks that decisions don't wait for it, and that stopping doesn't either.
func TestACollectorThatHangsHoldsUpNobody(t *testing.T) {
	hang := make(chan struct{})
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer collector.Close()
	defer close(hang)
	tracer, err := New(t.Context(), Options{Endpoint: collector.URL, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		tracer.Record(noon, noon, "nginx", newRequest(), allowed())
	}
	end, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := tracer.Stop(end); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stopped with %v", err)
	}
}

func TestComplaintsAreFew(t *testing.T) {
	var log strings.Builder
	c := &errorLogger{log: logr.New(sink{&log})}
	for range 100 {
		c.Handle(errors.New("connection refused"))
	}
	if got := log.String(); got != "connection refused\n" {
		t.Errorf("logged %q", got)
	}
}

// sink is a logr.LogSink that keeps errors.
type sink struct{ to *strings.Builder }

func (sink) Init(logr.RuntimeInfo)                 {}
func (sink) Enabled(int) bool                      { return true }
func (sink) Info(int, string, ...any)              {}
func (s sink) Error(err error, _ string, _ ...any) { s.to.WriteString(err.Error() + "\n") }
func (s sink) WithValues(...any) logr.LogSink      { return s }
func (s sink) WithName(string) logr.LogSink        { return s }

func BenchmarkRecord(b *testing.B) {
	tracer := newTracer()
	r, d := newRequest(traceparent), allowed()
	b.ReportAllocs()
	for b.Loop() {
		tracer.Record(noon, noon, "nginx", r, d)
	}
}
