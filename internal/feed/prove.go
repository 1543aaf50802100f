package feed

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// prove proves the freshness of the three streams until the context ends. In between it acknowledges changes that the
// controller waits for.
func (f *Feed) prove(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	attempts := &proofAttempts{feed: f}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			attempts.attempt(ctx, f.proveOnce)
			// The jitter keeps replicas that were started together from probing together.
			timer.Reset(f.intervals.probes() * time.Duration(90+rand.IntN(20)) / 100) //nolint:gosec // Nothing secret.
		case <-f.awaited:
			attempts.attempt(ctx, func(ctx context.Context, _ func()) error { return f.acknowledge(ctx) })
		}
	}
}

// proveOnce proves the freshness of all three streams. It lists tenants and policies only if that is due, and calls
// progress while data arrives.
func (f *Feed) proveOnce(ctx context.Context, progress func()) error {
	if began := f.options.Clock(); !began.Before(f.listsDue) {
		err := f.acknowledgeWhile(ctx, func(ctx context.Context) error {
			if err := listInto(ctx, f, allTenants, tenants, f.tenants, progress); err != nil {
				return err
			}
			return listInto(ctx, f, allPolicies, policies, f.policies, progress)
		})
		if err != nil {
			return err
		}
		f.listsDue = began.Add(f.intervals.lists(f.options.Clock().Sub(began)))
	}
	return f.prober.send(ctx)
}

// acknowledgeWhile keeps acknowledging changes while it runs do. A consistent list usually takes 100 ms, because the
// API server first makes sure that it is up to date itself.
func (f *Feed) acknowledgeWhile(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case <-f.awaited:
			if err := f.acknowledge(ctx); err != nil {
				cancel()
				return errors.Join(err, <-done)
			}
		}
	}
}

// acknowledge writes a nonce because the controller waits for it, and pauses until the next may be written.
func (f *Feed) acknowledge(ctx context.Context) error {
	began, changes := f.options.Clock(), f.unacknowledged.Swap(0)
	err := f.prober.send(ctx)
	pause(ctx, f.intervals.acknowledgements(f.options.Clock().Sub(began), changes))
	return err
}

// superviseProbes reconnects whenever a nonce does not come back in time, until the context ends.
func (f *Feed) superviseProbes(ctx context.Context) {
	tick := time.NewTicker(f.intervals.timeout() / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := f.options.Clock()
		waits, ok := f.prober.oldestPending()
		if listed := f.initialSync.completed(); listed.After(waits) {
			waits = listed // A nonce that was written before a list is in it, or comes on the watch after it.
		}
		if timeout := f.intervals.timeout(); ok && now.Sub(waits) > timeout && !f.initialSync.progressing(now, timeout) {
			f.options.Log.Info("A freshness probe has not come back on the watch: reconnecting",
				"after", now.Sub(waits).Round(time.Millisecond).String(), "freshAsOf", f.FreshAsOf())
			f.reconnect(true)
		}
	}
}

// reconnect closes all connections, so that new ones are made. With relist all watches end too, and everything is
// listed again; otherwise they continue where they were.
func (f *Feed) reconnect(relist bool) {
	f.metrics.reconnects.Inc()
	f.prober.forget()
	f.dialer.CloseAll()
	if relist {
		f.generations.next()
	}
}

// proofAttempts tracks how the latest attempts at a proof went, and logs when that changes.
type proofAttempts struct {
	feed *Feed
	// since is when the first of the current series of failures was. A series ends with a success, after which since is
	// zero, or when the connections are given up.
	since time.Time
}

// attempt makes one attempt at a proof.
func (a *proofAttempts) attempt(ctx context.Context, prove func(ctx context.Context, progress func()) error) {
	f := a.feed
	call, progress, end := f.intervals.probeContext(ctx)
	defer end()
	err := prove(call, progress)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		if !a.since.IsZero() {
			f.options.Log.Info("The API server answers again")
		}
		a.since = time.Time{}
		return
	}
	now := f.options.Clock()
	if a.since.IsZero() {
		a.since = now
		f.options.Log.Error(err, "Freshness can't be proved", "freshAsOf", f.FreshAsOf())
	}
	unanswered := errors.Is(context.Cause(call), context.DeadlineExceeded)
	switch {
	case f.initialSync.progressing(now, f.intervals.timeout()):
		// A long list is under way and delays the nonce. Don't start it over.
	case apierrors.ReasonForError(err) != "" && !unanswered && now.Sub(a.since) < f.intervals.timeout():
		// The API server answers with an error. Try again before connecting to another, which may answer differently.
	default:
		f.reconnect(unanswered)
		a.since = now
	}
}

func pause(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}
