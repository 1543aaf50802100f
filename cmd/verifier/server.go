package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/nexuscommerce/apikey-operator/internal/feed"
)

// server answers proxies. It starts with the process, not when the feed is ready: who asks too early is refused, which
// says more than a connection that can't be made.
type server struct {
	http     *http.Server
	listener net.Listener
	timeout  time.Duration
	draining atomic.Bool
}

func newServer(o options, handler http.Handler) (*server, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", o.httpAddress)
	if err != nil {
		return nil, fmt.Errorf("--http-bind-address=%s: %w", o.httpAddress, err)
	}
	return &server{
		http: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 10 * time.Second,
			// Longer than proxies keep idle connections, so that it is they who close them.
			IdleTimeout:    5 * time.Minute,
			MaxHeaderBytes: 64 << 10,
		},
		listener: listener,
		timeout:  o.shutdownTimeout,
	}, nil
}

// Start implements manager.Runnable.
func (s *server) Start(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	ctrl.Log.WithName("server").Info("Answering", "address", s.listener.Addr().String())
	select {
	case err := <-failed:
		return fmt.Errorf("answering at %s: %w", s.listener.Addr(), err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	return s.http.Shutdown(end)
}

func (s *server) ready(*http.Request) error {
	if s.draining.Load() {
		return errors.New("stopping")
	}
	return nil
}

// replica runs the feed for as long as the server answers: what is asked while the server drains is still decided from an
// index that is up to date, and only then does the verifier say that nobody has to wait for it any more.
type replica struct {
	keys   *feed.Feed
	server *server
}

// Start implements manager.Runnable.
func (r *replica) Start(ctx context.Context) error {
	feeding, stop := context.WithCancel(context.WithoutCancel(ctx))
	fed := make(chan error, 1)
	go func() { fed <- r.keys.Start(feeding) }()
	err := r.server.Start(ctx)
	stop()
	return errors.Join(err, <-fed)
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica serves.
func (*replica) NeedLeaderElection() bool { return false }
