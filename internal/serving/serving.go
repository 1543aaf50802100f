// Package serving has what proxies ask: an HTTP server with a URL for each dialect, and a gRPC server for Envoy. What decides
// is given to it, and it starts and stops nothing by itself.
//
//	┌───────┐ HTTP, one URL a dialect   ┌──────────────────┐       ┌───────────────┐
//	│ proxy ├──────────────────────────▶│ Routes           │       │ a surface per │       ┌───────┐
//	├───────┤ gRPC: Check, health       │                  ├──────▶│ dialect       ├──────▶│ check │
//	│ Envoy ├──────────────────────────▶│ NewGRPC, Health  │       └───────────────┘       └───────┘
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

// Server answers at one address.
type Server struct {
	listener *limit.Listener
	serve    func(net.Listener) error
	drain    func(context.Context) error
}

// Address is where the server answers.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Serve answers until the server is drained, which is no error.
func (s *Server) Serve() error { return s.serve(s.listener) }

// Drain has proxies close their connections, then takes no more requests, and waits for those under way as long as the
// context lasts.
func (s *Server) Drain(ctx context.Context) error { return s.drain(ctx) }

// Options are what the servers are made of.
type Options struct {
	// HTTPAddress and GRPCAddress are those of the flags --http-bind-address and --grpc-bind-address.
	HTTPAddress, GRPCAddress string
	// TLS secures HTTP; nil is plain text.
	TLS *tls.Config
	// Credentials secure gRPC.
	Credentials credentials.TransportCredentials
	// Reflection tells who asks which gRPC services there are.
	Reflection bool
	// Ready says why nobody should ask, or nothing.
	Ready func() error
	// Registry gets the metrics.
	Registry prometheus.Registerer

	RouteOptions
}

// RouteOptions are what the verifier's URLs are made of. Each of its surfaces has the same.
type RouteOptions struct {
	Decider *decide.Decider
	// Guard knows who may introspect tokens.
	Guard *kubeauth.Guard
	// Trust is the proxies whose word on the client's address counts.
	Trust clientip.Trust
	// ReviewAudiences are those that TokenReviews are answered for.
	ReviewAudiences []string
	// KeepToken leaves the token on requests that pass.
	KeepToken bool
}

// New makes the servers that proxies ask. Their addresses are taken, but nobody is answered yet.
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

// newClosedCounter returns a counter of the connections that exceeded the bounds of their port.
func newClosedCounter(registry prometheus.Registerer) *prometheus.CounterVec {
	closed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "apikey_verifier_connections_closed_total",
		Help: "Connections that were closed because they exceeded the bounds of their port, by reason.",
	}, []string{"port", "reason"})
	registry.MustRegister(closed)
	return closed
}

// countClosed makes a listener count the connections of a port that it closes. Each reason's series is there from the start.
func countClosed(closed *prometheus.CounterVec, port string) limit.Option {
	for _, reason := range limit.Reasons {
		closed.WithLabelValues(port, string(reason))
	}
	return limit.OnClose(func(reason limit.Reason) { closed.WithLabelValues(port, string(reason)).Inc() })
}

// Listen makes a flag's address one that a server answers at.
func Listen(flag, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--%s=%s: %w", flag, address, err)
	}
	return listener, nil
}

// parting is how long proxies that keep connections open are told, with each answer, that theirs is about to be closed. A
// connection that is closed just as a request comes on it would cost that request.
const parting = time.Second

// patience is how long the server waits for a request's header once it has begun, and then for its body.
const patience = 10 * time.Second

// HTTPBounds are those of the port that proxies ask at over HTTP. docs/threat-model.md has what they add up to.
var HTTPBounds = limit.Bounds{
	Connections: 2048,
	Rest:        64 << 10,
	Own:         16 << 10,
	Shared:      16 << 20,
	Header:      64 << 10,
	Streams:     100,
}

// limitBody bounds how long a request's body is waited for. With http.Server's ReadTimeout every request would pay for that, and
// those that proxies ask with have no body.
func limitBody(w http.ResponseWriter) {
	// It fails only over a connection that has no deadlines, which those of this package have.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
}

// NewHTTP answers over HTTP/1 and HTTP/2, without TLS where there is no configuration for it.
func NewHTTP(listener net.Listener, handler http.Handler, secure *tls.Config, options ...limit.Option) *Server {
	var leaving atomic.Bool
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if leaving.Load() {
				w.Header().Set("Connection", "close")
			}
			if r.ContentLength != 0 {
				limitBody(w)
			}
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: patience, // And limitBody in the place of ReadTimeout.
		// Longer than proxies keep idle connections, so that it is they who close them.
		IdleTimeout: 5 * time.Minute,
		// OPTIONS * would be answered 200 without the handler.
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
			leaving.Store(true)
			timer := time.NewTimer(parting)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			return s.Shutdown(ctx)
		},
	}
}
