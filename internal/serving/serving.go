// Package serving has the servers that proxies call: an HTTP server with a URL for each dialect, and a gRPC server for
// Envoy. The caller passes the decider, and starts and stops the servers.
//
//	┌───────┐ HTTP, one URL a dialect   ┌──────────────────┐       ┌───────────────┐
//	│ proxy ├──────────────────────────▶│ Routes           │       │ a surface per │       ┌────────┐
//	├───────┤ gRPC: Check, health       │                  ├──────▶│ dialect       ├──────▶│ decide │
//	│ Envoy ├──────────────────────────▶│ NewGRPC, Health  │       └───────────────┘       └────────┘
//	└───────┘                           └──────────────────┘
package serving

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/decide"
	"github.com/nexuscommerce/apikey-operator/internal/kubeauth"
	"github.com/nexuscommerce/apikey-operator/internal/limit"
	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
)

// Server serves at one address.
type Server struct {
	listener *limit.Listener
	serve    func(net.Listener) error
	drain    func(context.Context) error
}

// Address returns the server's address.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Serve serves until the server is drained, which is not an error.
func (s *Server) Serve() error { return s.serve(s.listener) }

// Drain makes proxies close their connections, then stops accepting requests, and waits for those under way until the
// context ends.
func (s *Server) Drain(ctx context.Context) error { return s.drain(ctx) }

// Options configure the servers.
type Options struct {
	// HTTPAddress and GRPCAddress are the values of the flags --http-bind-address and --grpc-bind-address.
	HTTPAddress, GRPCAddress string
	// TLS is the configuration for HTTP. Nil means plain text.
	TLS *tls.Config
	// Credentials are those of gRPC.
	Credentials credentials.TransportCredentials
	// Reflection turns on gRPC's server reflection.
	Reflection bool
	// Ready returns an error if proxies should not call this replica.
	Ready func() error
	// Registry gets the metrics.
	Registry prometheus.Registerer

	RouteOptions
}

// RouteOptions configure the surfaces. All get the same.
type RouteOptions struct {
	Decider *decide.Decider
	// Guard lets only authorized callers introspect tokens.
	Guard *kubeauth.Guard
	// Trust is the proxies whose X-Forwarded-For is trusted.
	Trust clientip.Trust
	// ReviewAudiences are the audiences that TokenReviews are answered for.
	ReviewAudiences []string
	// KeepToken leaves the token on allowed requests.
	KeepToken bool
}

// New returns the servers that proxies call. They listen already, but serve nothing yet.
func New(o Options) ([]*Server, error) {
	overHTTP, err := Listen("http-bind-address", o.HTTPAddress)
	if err != nil {
		return nil, err
	}
	overGRPC, err := Listen("grpc-bind-address", o.GRPCAddress)
	if err != nil {
		return nil, err
	}
	authorization := extauthz.NewGRPC(o.Decider, o.Trust, o.KeepToken)
	closed := newClosedCounter(o.Registry)
	return []*Server{
		NewHTTP(overHTTP, NewRoutes(o.RouteOptions), o.TLS, countClosed(closed, "http")),
		NewGRPC(overGRPC, authorization, NewHealth(o.Ready), o.Credentials, o.Reflection, countClosed(closed, "grpc")),
	}, nil
}

// newClosedCounter returns a counter of the connections that were closed because they exceeded the bounds of their
// port.
func newClosedCounter(registry prometheus.Registerer) *prometheus.CounterVec {
	closed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "apikey_verifier_connections_closed_total",
		Help: "Connections that were closed because they exceeded the bounds of their port, by reason.",
	}, []string{"port", "reason"})
	registry.MustRegister(closed)
	return closed
}

// countClosed makes a listener count the connections that it closes, as those of a port. The series of each reason
// exists from the start.
func countClosed(closed *prometheus.CounterVec, port string) limit.Option {
	for _, reason := range limit.Reasons {
		closed.WithLabelValues(port, string(reason))
	}
	return limit.OnClose(func(reason limit.Reason) { closed.WithLabelValues(port, string(reason)).Inc() })
}

// Listen listens on the address that a flag sets. Its error names the flag.
func Listen(flag, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--%s=%s: %w", flag, address, err)
	}
	return listener, nil
}

// drainDelay is how long the server keeps accepting requests while it tells proxies, with each response, to close their
// connections. If a connection is closed just as a request arrives on it, that request is lost.
const drainDelay = time.Second

// requestTimeout is how long a request's header may take once it has begun, and then its body.
const requestTimeout = 10 * time.Second

// HTTPBounds are those of the port for proxies over HTTP. docs/threat-model.md adds them up.
var HTTPBounds = limit.Bounds{
	Connections: 2048,
	Rest:        64 << 10,
	Own:         16 << 10,
	Shared:      16 << 20,
	Header:      64 << 10,
	Streams:     100,
}

// limitBody sets the deadline for a request's body. With http.Server's ReadTimeout every request would pay for a
// deadline, and most requests of proxies have no body.
func limitBody(w http.ResponseWriter) {
	// It fails only for connections without deadlines, and this package's have deadlines.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(requestTimeout))
}

// NewHTTP returns a server of HTTP/1 and HTTP/2. Without a configuration of TLS, it serves plain text.
func NewHTTP(listener net.Listener, handler http.Handler, secure *tls.Config, options ...limit.Option) *Server {
	var draining atomic.Bool
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if draining.Load() {
				w.Header().Set("Connection", "close")
			}
			if r.ContentLength != 0 {
				limitBody(w)
			}
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: requestTimeout, // limitBody replaces ReadTimeout.
		// Longer than proxies keep idle connections, so that the proxies close them.
		IdleTimeout: 5 * time.Minute,
		// Otherwise net/http answers OPTIONS * with 200, without calling the handler.
		DisableGeneralOptionsHandler: true,
	}
	HTTPBounds.Apply(s)
	return &Server{
		listener: limit.NewTLS(listener, HTTPBounds, secure, options...),
		serve: func(l net.Listener) error {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
		drain: func(ctx context.Context) error {
			draining.Store(true)
			timer := time.NewTimer(drainDelay)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			return s.Shutdown(ctx)
		},
	}
}
