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

// replica runs the feed until all servers are drained, so that requests are decided by a fresh index to the end. Only
// then does the verifier sign off: the controller no longer waits for it.
//
// The servers start with the process, before the index is fresh. Early requests are refused, which tells more than a
// connection that can't be made.
//
// The last uses are written between draining and signing off: all uses are known by then, and the feed still shows what
// other replicas write.
type replica struct {
	keys    *feed.Feed
	usage   *usage.Recorder
	audit   *audit.Log      // may be nil
	tracer  *tracing.Tracer // may be nil
	servers []*serving.Server
	// timeout is how long requests under way may take once the replica is told to stop.
	timeout  time.Duration
	draining atomic.Bool
}

// Start runs the replica until the context ends, and then until it has signed off.
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
	// A quarter of the time is left for signing off.
	flushing, cancel := context.WithDeadline(feeding, stopped.Add(r.timeout*3/4))
	defer cancel()
	r.usage.Flush(flushing)
	stopFeeding()
	return errors.Join(err, <-fed)
}

// stopTracing sends the last spans, unless that takes too long. Nothing waits for a collector.
func (r *replica) stopTracing(ctx context.Context) {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timeout/4)
	defer cancel()
	if err := r.tracer.Stop(end); err != nil {
		logf.Log.WithName("tracing").Info("The last spans are lost", "error", err.Error())
	}
}

// answer serves until the context ends or a server fails, and then drains all servers. It returns when draining began.
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
	r.draining.Store(true) // First, so that health checks fail before a connection is refused.
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

// ready returns an error if no new clients should be sent here.
func (r *replica) ready() error { return errors.Join(r.staying(), r.keys.Ready()) }

// staying returns an error once the replica has been told to stop.
func (r *replica) staying() error {
	if r.draining.Load() {
		return errors.New("stopping")
	}
	return nil
}
