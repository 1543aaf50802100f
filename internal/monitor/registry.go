package monitor

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	clientmetrics "k8s.io/client-go/tools/metrics"
)

// NewRegistry returns a registry with what every program shows: of itself, of Go, of the process, and of what it asks
// the API server. It is for one program of a process, which has no manager.
func NewRegistry(program string) *prometheus.Registry {
	asked := &requests{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rest_client_requests_total", Help: "Requests to the API server, by status, method and host.",
	}, []string{"code", "method", "host"})}
	clientmetrics.Register(clientmetrics.RegisterOpts{RequestResult: asked})
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		Build(program), asked,
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll)))
	return registry
}

// requests counts the requests to the API server.
type requests struct{ *prometheus.CounterVec }

// Increment implements metrics.ResultMetric.
func (r *requests) Increment(_ context.Context, code, method, host string) {
	r.WithLabelValues(code, method, host).Inc()
}
