package feed

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// prove proves the freshness of the three streams until the context ends. In between it tells the controller how far the
// index is, as soon as the controller waits for that.
func (f *Feed) prove(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	health := &proofAttempts{feed: f}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			health.attempt(ctx, f.proveOnce)
			// Replicas that were started together don't stay in step.
			timer.Reset(f.intervals.probes() * time.Duration(90+rand.IntN(20)) / 100) //nolint:gosec // Nothing secret.
		case <-f.awaited:
			health.attempt(ctx, func(ctx context.Context, _ func()) error { return f.acknowledge(ctx) })
		}
	}
}

// proveOnce proves the freshness of all three streams. Where the lists take long, they have waited for their turn, and say
// that they get on.
func (f *Feed) proveOnce(ctx context.Context, advances func()) error {
	if began := f.options.Clock(); !began.Before(f.listsDue) {
		err := f.acknowledgeWhile(ctx, func(ctx context.Context) error {
			if err := listInto(ctx, f, allTenants, tenants, f.tenants, advances); err != nil {
				return err
			}
			return listInto(ctx, f, allPolicies, policies, f.policies, advances)
		})
		if err != nil {
			return err
		}
		f.listsDue = began.Add(f.intervals.lists(f.options.Clock().Sub(began)))
	}
	return f.prober.send(ctx)
}

// acknowledgeWhile goes on telling the controller how far the index is while something else is done: a consistent list waits until the API
// server knows that it has everything, for 100 ms as a rule.
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

// acknowledge writes a nonce because the controller waits for it, and rests until there may be another.
func (f *Feed) acknowledge(ctx context.Context) error {
	began, changes := f.options.Clock(), f.unacknowledged.Swap(0)
	err := f.prober.send(ctx)
	pause(ctx, f.intervals.acknowledgements(f.options.Clock().Sub(began), changes))
	return err
}

// superviseProbes gives up the connections over which a nonce does not come back in time, until the context ends.
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
			waits = listed // What was written before a list is in it, or comes after it.
		}
		if patience := f.intervals.timeout(); ok && now.Sub(waits) > patience && !f.initialSync.progressing(now, patience) {
			f.options.Log.Info("A freshness probe has not come back on the watch: reconnecting",
				"after", now.Sub(waits).Round(time.Millisecond).String(), "freshAsOf", f.FreshAsOf())
			f.reconnect(true)
		}
	}
}

// reconnect ends all connections, so that whatever comes next comes over others. With relist all watches end too, and
// everything is listed anew; else they are taken up where they were.
func (f *Feed) reconnect(relist bool) {
	f.metrics.reconnects.Inc()
	f.prober.forget()
	f.dialer.CloseAll()
	if relist {
		f.generations.next()
	}
}

// proofAttempts remembers how the last attempts at a proof went. What is logged is a change.
type proofAttempts struct {
	feed *Feed
	// since is when the first of the attempts was made that have failed since one succeeded, or since the connections were
	// given up; zero after a success.
	since time.Time
}

// attempt makes one attempt at a proof.
func (h *proofAttempts) attempt(ctx context.Context, prove func(ctx context.Context, advances func()) error) {
	f := h.feed
	call, advances, end := f.intervals.probeContext(ctx)
	defer end()
	err := prove(call, advances)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		if !h.since.IsZero() {
			f.options.Log.Info("The API server answers again")
		}
		h.since = time.Time{}
		return
	}
	now := f.options.Clock()
	if h.since.IsZero() {
		h.since = now
		f.options.Log.Error(err, "Freshness can't be proved", "freshAsOf", f.FreshAsOf())
	}
	unanswered := errors.Is(context.Cause(call), context.DeadlineExceeded)
	switch {
	case f.initialSync.progressing(now, f.intervals.timeout()):
		// A long list is on its way, and must not be begun again for what it delays.
	case apierrors.ReasonForError(err) != "" && !unanswered && now.Sub(h.since) < f.intervals.timeout():
		// The server answers. It is asked again, before another is looked for that may answer otherwise.
	default:
		f.reconnect(unanswered)
		h.since = now
	}
}

func pause(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}
