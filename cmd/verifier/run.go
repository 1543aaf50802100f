package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// runnable runs until the context ends, or until it is done.
type runnable func(context.Context) error

// parts are what a verifier runs. They replace controller-runtime's manager, which links every kind of Kubernetes and
// would take a fifth of a verifier's memory.
type parts struct {
	// work is what runs until the context ends. If any of it fails, the program ends.
	work []runnable
	// servers are those of metrics and health checks. They run until the work has ended.
	servers []runnable
	// timeout is how long all of it may take to end.
	timeout time.Duration
	log     logr.Logger
}

// run runs everything until the context ends or something fails, and returns the first error.
func (p parts) run(ctx context.Context) error {
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	start := func(ctx context.Context, all []runnable) *sync.WaitGroup {
		group := &sync.WaitGroup{}
		for _, run := range all {
			group.Go(func() {
				err := run(ctx)
				if err != nil && working.Err() != nil {
					p.log.Error(err, "Something did not end as it should")
				}
				if err != nil {
					stop(err) // Only the first is returned.
				}
			})
		}
		return group
	}
	servers := start(serving, p.servers)
	workers := start(working, p.work)
	<-working.Done()

	ended := make(chan struct{})
	go func() {
		workers.Wait()
		stopServing()
		servers.Wait()
		close(ended)
	}()
	timer := time.NewTimer(p.timeout)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		return fmt.Errorf("not everything has ended within %s", p.timeout)
	}
	if err := context.Cause(working); ctx.Err() == nil || !errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return nil // The context has ended, which is not an error.
}
