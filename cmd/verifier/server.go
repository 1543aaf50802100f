package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/nexuscommerce/apikey-operator/internal/audit"
	"github.com/nexuscommerce/apikey-operator/internal/feed"
	"github.com/nexuscommerce/apikey-operator/internal/serving"
	"github.com/nexuscommerce/apikey-operator/internal/tracing"
	"github.com/nexuscommerce/apikey-operator/internal/usage"
)

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
	servers []*serving.Server
	// timeout is how long requests under way may take once the replica is told to stop.
	timeout  time.Duration
	draining atomic.Bool
}

// Start runs the replica until the context ends, and then until it has said goodbye.
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
		logf.Log.WithName("tracing").Info("The last spans are lost", "error", err.Error())
	}
}

// answer serves until the context ends or a server fails, and then until all are drained. It returns when draining began.
func (r *replica) answer(ctx context.Context) (time.Time, error) {
	failed := make(chan error, len(r.servers))
	for _, s := range r.servers {
		go func() {
			if err := s.Serve(); err != nil {
				failed <- fmt.Errorf("answering at %s: %w", s.Address(), err)
			}
		}()
		logf.Log.WithName("server").Info("Answering", "address", s.Address())
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
		go func() { drained <- s.Drain(end) }()
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
