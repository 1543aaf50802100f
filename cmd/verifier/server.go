package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/nexuscommerce/apikey-operator/internal/audit"
	"github.com/nexuscommerce/apikey-operator/internal/caller"
	"github.com/nexuscommerce/apikey-operator/internal/check"
	"github.com/nexuscommerce/apikey-operator/internal/feed"
	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
	"github.com/nexuscommerce/apikey-operator/internal/tracing"
	"github.com/nexuscommerce/apikey-operator/internal/usage"
)

// server answers at one address.
type server struct {
	listener net.Listener
	// serve answers until it is drained, which is no error.
	serve func(net.Listener) error
	// drain takes no more requests, and waits for those under way as long as the context lasts.
	drain func(context.Context) error
}

// listen makes a flag's address one that a server answers at.
func listen(flag, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--%s=%s: %w", flag, address, err)
	}
	return listener, nil
}

func newHTTPServer(listener net.Listener, handler http.Handler, secure security) *server {
	s := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second, // A body that nobody reads is awaited too before the next request.
		// Longer than proxies keep idle connections, so that it is they who close them.
		IdleTimeout:    5 * time.Minute,
		MaxHeaderBytes: 64 << 10,
		// OPTIONS * would be answered 200 without the handler.
		DisableGeneralOptionsHandler: true,
	}
	secure.overHTTP(s)
	serve := s.Serve
	if s.TLSConfig != nil {
		serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
	}
	return &server{
		listener: listener,
		serve: func(l net.Listener) error {
			if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
		drain: s.Shutdown,
	}
}

// newServers makes the servers that proxies ask. Their addresses are taken, but nobody is answered yet. Ready says why nobody
// should ask, or nothing.
func newServers(o options, secure security, decider *check.Decider, guard *caller.Guard, ready func() error) ([]*server, error) {
	overHTTP, err := listen("http-bind-address", o.httpAddress)
	if err != nil {
		return nil, err
	}
	overGRPC, err := listen("grpc-bind-address", o.grpcAddress)
	if err != nil {
		return nil, err
	}
	authorization := extauthz.NewGRPC(decider, o.trust, o.keepToken)
	return []*server{
		newHTTPServer(overHTTP, newRoutes(decider, guard, o), secure),
		newGRPCServer(overGRPC, authorization, newGRPCHealth(ready), secure.overGRPC(), o.grpcReflection),
	}, nil
}

// replica runs the feed for as long as any of its servers answers: what is asked while they drain is still decided from an
// index that is up to date, and only then does the verifier say that nobody has to wait for it any more.
//
// The servers start with the process, not when the feed is ready: who asks too early is refused, which says more than a
// connection that can't be made.
//
// When keys were last used is written between the two: all uses are known then, and the feed still tells of what others
// write.
type replica struct {
	keys    *feed.Feed
	usage   *usage.Recorder
	audit   *audit.Log      // nil for none
	tracer  *tracing.Tracer // nil for none
	servers []*server
	// timeout is how long requests under way may take once the replica is told to stop.
	timeout  time.Duration
	draining atomic.Bool
}

// Start implements manager.Runnable.
func (r *replica) Start(ctx context.Context) error {
	feeding, stopFeeding := context.WithCancel(context.WithoutCancel(ctx))
	fed := make(chan error, 1)
	go func() { fed <- r.keys.Start(feeding) }()
	recording, stopRecording := context.WithCancel(feeding)
	defer stopRecording()
	var recorders sync.WaitGroup
	recorders.Go(func() { r.usage.Start(recording) })
	if r.audit != nil {
		recorders.Go(func() { r.audit.Start(recording, r.timeout/4) })
	}
	stopped, err := r.answer(ctx)
	stopRecording()
	if r.tracer != nil {
		recorders.Go(func() { r.stopTracing(ctx) })
	}
	recorders.Wait()
	// A quarter of the time is left for saying goodbye.
	flushing, cancel := context.WithDeadline(feeding, stopped.Add(r.timeout*3/4))
	defer cancel()
	r.usage.Flush(flushing)
	stopFeeding()
	return errors.Join(err, <-fed)
}

// stopTracing has the last spans sent, unless that takes too long. Nobody waits for a collector.
func (r *replica) stopTracing(ctx context.Context) {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timeout/4)
	defer cancel()
	if err := r.tracer.Stop(end); err != nil {
		ctrl.Log.WithName("tracing").Info("The last spans are lost", "error", err.Error())
	}
}

// answer serves until the context ends or a server fails, and then until all are drained. It returns when draining began.
func (r *replica) answer(ctx context.Context) (time.Time, error) {
	failed := make(chan error, len(r.servers))
	for _, s := range r.servers {
		go func() {
			if err := s.serve(s.listener); err != nil {
				failed <- fmt.Errorf("answering at %s: %w", s.listener.Addr(), err)
			}
		}()
		ctrl.Log.WithName("server").Info("Answering", "address", s.listener.Addr().String())
	}
	var errs []error
	select {
	case err := <-failed:
		errs = append(errs, err)
	case <-ctx.Done():
	}
	stopped := time.Now()
	r.draining.Store(true) // First, so that whoever asks whether we are ready hears it before a connection is refused.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timeout)
	defer cancel()
	drained := make(chan error, len(r.servers))
	for _, s := range r.servers {
		go func() { drained <- s.drain(end) }()
	}
	for range r.servers {
		errs = append(errs, <-drained)
	}
	return stopped, errors.Join(errs...)
}

// ready says why nobody new should be sent here, or nothing.
func (r *replica) ready() error { return errors.Join(r.staying(), r.keys.Ready()) }

// staying says that the replica has been told to stop, or nothing.
func (r *replica) staying() error {
	if r.draining.Load() {
		return errors.New("stopping")
	}
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica serves.
func (*replica) NeedLeaderElection() bool { return false }
