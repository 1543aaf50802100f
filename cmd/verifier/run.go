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

// parts are what a verifier runs. Running them is what controller-runtime's manager is for, but that brings every kind of
// Kubernetes with it, which would be a fifth of a verifier's memory.
type parts struct {
	// work ends the program if it fails.
	work []runnable
	// watched are servers that say how the work is doing, until it has ended.
	watched []runnable
	// patience is how long all of it may take to end.
	patience time.Duration
	log      logr.Logger
}

// run runs all of it until the context ends or something fails, and returns what did.
func (p parts) run(ctx context.Context) error {
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watched, stopWatched := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatched()
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
	servers := start(watched, p.watched)
	workers := start(working, p.work)
	<-working.Done()

	ended := make(chan struct{})
	go func() {
		workers.Wait()
		stopWatched()
		servers.Wait()
		close(ended)
	}()
	timer := time.NewTimer(p.patience)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		return fmt.Errorf("not everything has ended within %s", p.patience)
	}
	if err := context.Cause(working); ctx.Err() == nil || !errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return nil // It was told to.
}
