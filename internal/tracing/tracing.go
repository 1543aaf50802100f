// Package tracing sends a span for each decision to an OpenTelemetry collector.
//
// A span continues the trace of the proxy's request. It has the surface, the outcome and the reason, and nothing about
// the client: traces are read by many people, and stored where nobody expects secrets. The client's tracestate and
// baggage, which can contain anything, are not passed on either.
package tracing

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// spanName is the name of every span.
const spanName = "apikey.check"

// defaultPath is where collectors accept traces.
const defaultPath = "/v1/traces"

// logEvery is how often at most a failure to send spans is logged.
const logEvery = time.Minute

// Options configure a Tracer. OpenTelemetry's environment variables set the rest: OTEL_EXPORTER_OTLP_*,
// OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES and so on.
type Options struct {
	// Endpoint is the URL of the collector, for OTLP over HTTP, with or without a path. Empty means that the environment
	// sets it.
	Endpoint string
	// Name is this verifier's name.
	Name    string
	Version string
	Log     logr.Logger
}

// Tracer sends spans to a collector.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// New returns a tracer. It does not wait for the collector.
func New(ctx context.Context, options Options) (*Tracer, error) {
	var to []otlptracehttp.Option
	if options.Endpoint != "" {
		endpoint, err := url.Parse(options.Endpoint)
		if err != nil {
			return nil, fmt.Errorf("setting up traces: %w", err)
		}
		if endpoint.Path == "" || endpoint.Path == "/" {
			endpoint.Path = defaultPath // The library adds it only to an endpoint from the environment.
		}
		to = append(to, otlptracehttp.WithEndpointURL(endpoint.String()))
	}
	exporter, err := otlptracehttp.New(ctx, to...)
	if err != nil {
		return nil, fmt.Errorf("setting up traces: %w", err)
	}
	self, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			attribute.String("service.name", "apikey-verifier"),
			attribute.String("service.version", options.Version),
			attribute.String("service.instance.id", options.Name),
		),
		resource.WithFromEnv(), // Takes precedence.
	)
	if err != nil {
		return nil, fmt.Errorf("setting up traces: %w", err)
	}
	otel.SetErrorHandler(&errorLogger{log: options.Log})
	// Its queue is bounded. Spans that don't fit are dropped.
	return newTracer(sdktrace.WithBatcher(exporter), sdktrace.WithResource(self)), nil
}

func newTracer(options ...sdktrace.TracerProviderOption) *Tracer {
	provider := sdktrace.NewTracerProvider(options...)
	return &Tracer{provider: provider, tracer: provider.Tracer("github.com/nexuscommerce/apikey-operator")}
}

// Record queues the span of a decision, to be sent in the background.
func (t *Tracer) Record(begun, ended time.Time, surface string, request *verify.Request, decision verify.Decision) {
	_, span := t.tracer.Start(
		parent(request.Traceparent), spanName, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(begun),
	)
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("apikey.surface", surface),
			attribute.String("apikey.outcome", decision.Outcome.String()),
			attribute.String("apikey.reason", string(decision.Reason)),
		)
		if decision.Outcome == verify.Unavailable {
			span.SetStatus(codes.Error, "the request could not be checked")
		}
	}
	span.End(trace.WithTimestamp(ended))
}

// parent returns a context with the parent span that the traceparent header names, if there is exactly one header.
func parent(traceparent []string) context.Context {
	if len(traceparent) != 1 {
		return context.Background()
	}
	return propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent[0]})
}

// Stop sends the pending spans, unless the context ends first.
func (t *Tracer) Stop(ctx context.Context) error { return t.provider.Shutdown(ctx) }
