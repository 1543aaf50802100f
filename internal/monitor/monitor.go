// Package monitor is how the project's programs show their metrics, and to whom.
//
//	            plain text      a certificate            --metrics-secure, without a certificate
//	transport   HTTP            HTTPS                    HTTPS, with a certificate that the program signs itself
//	callers     anybody         anybody, unless          only who may get /metrics, as the API server says
//	                            --metrics-secure
//
// Programs that have a manager show theirs through it: see package managed.
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
	// patience is how long who asks may take to say what for.
	patience = 10 * time.Second
	// drainTimeout is how long requests under way may take once the program is told to stop.
	drainTimeout = 5 * time.Second
	// answerWithin is how long an answer may take, and idle how long a connection is kept on which nothing is asked.
	answerWithin = 30 * time.Second
	idle         = 2 * time.Minute
	// atATime is how many may read metrics at the same time: each makes a page of all of them.
	atATime = 4
)

// Bounds are those of a port that few ask at. docs/threat-model.md has what they add up to.
var Bounds = limit.Bounds{
	Connections: 64,
	Rest:        64 << 10,
	Own:         16 << 10,
	Shared:      4 << 20,
	Header:      32 << 10,
}

// Endpoint is where a program shows its metrics, and whatever else is for people.
type Endpoint struct {
	// Address is where to listen, or 0 for nowhere.
	Address string
	// Certificate returns that of the endpoint; nil for plain text, or where Guard is set, for one that is made as it starts.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Guard lets callers pass; nil for all of them.
	Guard *kubeauth.Guard
	// Metrics are shown at /metrics, and Handlers at their paths.
	Metrics  prometheus.Gatherer
	Handlers map[string]http.Handler
}

// Start listens, and answers until the context ends.
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
		return fmt.Errorf("listening for who asks for metrics: %w", err)
	}
	return Serve(ctx, listener, handler, config)
}

// Server returns what answers at the endpoint, and its configuration of TLS, or nil for plain text.
func (e Endpoint) Server() (http.Handler, *tls.Config, error) {
	config, err := e.secure()
	return e.handler(), config, err
}

// secure returns the endpoint's configuration of TLS, or nil for plain text.
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
	show("/metrics", promhttp.HandlerFor(e.Metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: atATime}))
	for path, handler := range e.Handlers {
		show(path, handler)
	}
	return mux
}

// NewServer returns a server within Bounds, over TLS where there is a configuration for it, and the listener that it is to serve.
func NewServer(listener net.Listener, handler http.Handler, secure *tls.Config) (*http.Server, net.Listener) {
	server := &http.Server{
		Handler: handler, ReadTimeout: patience, WriteTimeout: answerWithin, IdleTimeout: idle,
	}
	Bounds.Apply(server)
	return server, limit.NewTLS(listener, Bounds, secure)
}

// Serve answers until the context ends, over TLS where there is a configuration for it. It is for what few ask.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, secure *tls.Config) error {
	server, bounded := NewServer(listener, handler, secure)
	return httpserver.Serve(ctx, server, bounded, drainTimeout)
}

// Build is a metric that says which version of a program runs. Its value is always 1.
func Build(program string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "apikey_build_info",
		Help:        "Always 1; which program this is, its version and that of Go are in the labels.",
		ConstLabels: prometheus.Labels{"program": program, "version": version.String(), "go_version": runtime.Version()},
	}, func() float64 { return 1 })
}
