// Package tracing sends a span for each decision to an OpenTelemetry collector.
//
// A span continues the trace that the proxy's request is part of. It says which surface was asked, what came out and why,
// and nothing about who asked: traces are read by more people than may know that, and kept where nobody thinks of secrets.
// So the client's tracestate and baggage, in which there can be anything, are not passed on either.
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

// spanName is that of every span.
const spanName = "apikey.check"

// defaultPath is where collectors take traces.
const defaultPath = "/v1/traces"

// complaintEvery is how often it is logged at most that spans can't be sent.
const complaintEvery = time.Minute

// Options configure a Tracer. What they leave open is taken from the environment, as OpenTelemetry has it: OTEL_EXPORTER_OTLP_*,
// OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES and so on.
type Options struct {
	// Endpoint is the URL of the collector, for OTLP over HTTP, with a path or without. Blank is what the environment says.
	Endpoint string
	// Name is this verifier's own among all that run.
	Name    string
	Version string
	Log     logr.Logger
}

// Tracer sends spans.
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
			endpoint.Path = defaultPath // Which the library adds to what is in the environment, and not here.
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
		resource.WithFromEnv(), // It has the last word.
	)
	if err != nil {
		return nil, fmt.Errorf("setting up traces: %w", err)
	}
	otel.SetErrorHandler(&complaints{log: options.Log})
	// Its queue is bounded; what doesn't fit is dropped.
	return newTracer(sdktrace.WithBatcher(exporter), sdktrace.WithResource(self)), nil
}

func newTracer(options ...sdktrace.TracerProviderOption) *Tracer {
	provider := sdktrace.NewTracerProvider(options...)
	return &Tracer{provider: provider, tracer: provider.Tracer("github.com/nexuscommerce/apikey-operator")}
}

// Record sends the span of a decision, in the background.
func (t *Tracer) Record(begun, ended time.Time, surface string, request *verify.Request, decision verify.Decision) {
	_, span := t.tracer.Start(parent(request.Traceparent), spanName, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(begun))
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

// parent returns a context with the span that a traceparent header names, if there is exactly one.
func parent(traceparent []string) context.Context {
	if len(traceparent) != 1 {
		return context.Background()
	}
	return propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent[0]})
}

// Stop sends what is pending, as long as the context lasts.
func (t *Tracer) Stop(ctx context.Context) error { return t.provider.Shutdown(ctx) }
