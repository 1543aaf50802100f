package main

import (
	"context"
	"os"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/nexuscommerce/apikey-operator/internal/tracing"
	"github.com/nexuscommerce/apikey-operator/internal/version"
)

// newTracer returns a tracer, or nil if neither the flag nor OpenTelemetry's own variables set an endpoint.
func newTracer(o options) (*tracing.Tracer, error) {
	if o.otlpEndpoint == "" && os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" &&
		os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return nil, nil //nolint:nilnil // Nothing asks for one.
	}
	return tracing.New(context.Background(), tracing.Options{
		Endpoint: o.otlpEndpoint, Name: o.name, Version: version.String(), Log: logf.Log.WithName("tracing"),
	})
}
