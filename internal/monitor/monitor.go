// Package monitor serves the metrics of the project's programs, and decides who may read them.
//
//	            plain text      a certificate            --metrics-secure, without a certificate
//	transport   HTTP            HTTPS                    HTTPS, with a certificate that the program signs itself
//	callers     anybody         anybody, unless          only who may get /metrics, as the API server says
//	                            --metrics-secure
//
// Package managed does the same within a controller-runtime manager.
package monitor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	certutil "k8s.io/client-go/util/cert"

	"github.com/nexuscommerce/apikey-operator/internal/httpserver"
	"github.com/nexuscommerce/apikey-operator/internal/kubeauth"
	"github.com/nexuscommerce/apikey-operator/internal/limit"
	"github.com/nexuscommerce/apikey-operator/internal/version"
)

const (
	// readTimeout is how long a client may take to send a request.
	readTimeout = 10 * time.Second
	// drainTimeout is how long requests under way may take once the program is told to stop.
	drainTimeout = 5 * time.Second
	// writeTimeout is how long a response may take, and idleTimeout how long an idle connection is kept.
	writeTimeout = 30 * time.Second
	idleTimeout  = 2 * time.Minute
	// maxInFlight is how many requests for metrics are served at the same time. Each builds a page of all metrics.
	maxInFlight = 4
)

// Bounds are those of a port for few clients. docs/threat-model.md adds them up.
var Bounds = limit.Bounds{
	Connections: 64,
	Rest:        64 << 10,
	Own:         16 << 10,
	Shared:      4 << 20,
	Header:      32 << 10,
}

// Endpoint serves a program's metrics, and whatever else is for operators.
type Endpoint struct {
	// Address is where to listen. "0" means nowhere.
	Address string
	// Certificate returns the endpoint's certificate. Without it the endpoint uses plain text or, if there is a Guard, a
	// certificate that it signs itself when it starts.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Guard says which callers may read. Nil means all.
	Guard *kubeauth.Guard
	// Metrics are served at /metrics, and Handlers at their paths.
	Metrics  prometheus.Gatherer
	Handlers map[string]http.Handler
}

// Start listens, and serves until the context ends.
func (e Endpoint) Start(ctx context.Context) error {
	if e.Address == "0" {
		return nil
	}
	handler, config, err := e.Server()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", e.Address)
	if err != nil {
		return fmt.Errorf("listening for requests for metrics: %w", err)
	}
	return Serve(ctx, listener, handler, config)
}

// Server returns the endpoint's handler and its TLS configuration, which is nil for plain text.
func (e Endpoint) Server() (http.Handler, *tls.Config, error) {
	config, err := e.secure()
	return e.handler(), config, err
}

// secure returns the endpoint's TLS configuration, or nil for plain text.
func (e Endpoint) secure() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: e.Certificate}
	switch {
	case e.Certificate != nil:
	case e.Guard == nil:
		return nil, nil //nolint:nilnil // Plain text is asked for.
	default:
		cert, key, err := certutil.GenerateSelfSignedCertKeyWithFixtures("localhost", []net.IP{{127, 0, 0, 1}}, nil, "")
		if err != nil {
			return nil, fmt.Errorf("making a certificate: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("making a certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func (e Endpoint) handler() http.Handler {
	mux := http.NewServeMux()
	show := func(path string, handler http.Handler) {
		if e.Guard != nil {
			handler = e.Guard.Protect(path, handler)
		}
		mux.Handle(path, handler)
	}
	show("/metrics", promhttp.HandlerFor(
		e.Metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: maxInFlight},
	))
	for path, handler := range e.Handlers {
		show(path, handler)
	}
	return mux
}

// NewServer returns a server within Bounds, and the listener that it must serve. It uses TLS if there is a
// configuration.
func NewServer(listener net.Listener, handler http.Handler, secure *tls.Config) (*http.Server, net.Listener) {
	server := &http.Server{
		Handler: handler, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
	}
	Bounds.Apply(server)
	return server, limit.NewTLS(listener, Bounds, secure)
}

// Serve serves within Bounds until the context ends. It uses TLS if there is a configuration.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, secure *tls.Config) error {
	server, bounded := NewServer(listener, handler, secure)
	return httpserver.Serve(ctx, server, bounded, drainTimeout)
}

// Build returns the metric apikey_build_info of a program, whose labels are its version and Go's.
func Build(program string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "apikey_build_info",
		Help:        "Always 1; which program this is, its version and that of Go are in the labels.",
		ConstLabels: prometheus.Labels{"program": program, "version": version.String(), "go_version": runtime.Version()},
	}, func() float64 { return 1 })
}
