package feed

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestIntervals(t *testing.T) {
	for name, test := range map[string]struct {
		bound                        time.Duration
		replicas                     int64
		interval, timeout, audit     time.Duration
		acknowledgements, afterAList time.Duration
	}{
		"alone": {5 * time.Minute, 1, 2 * time.Second, 5 * time.Second, 150 * time.Second,
			5 * time.Millisecond, 150 * time.Second},
		"before the first nonce": {5 * time.Minute, 0, 2 * time.Second, 5 * time.Second, 150 * time.Second,
			5 * time.Millisecond, 150 * time.Second},
		"three": {5 * time.Minute, 3, 2 * time.Second, 5 * time.Second, 150 * time.Second,
			15 * time.Millisecond, 150 * time.Second},
		"as many as write freely": {5 * time.Minute, 10, 2 * time.Second, 5 * time.Second, 150 * time.Second,
			50 * time.Millisecond, 150 * time.Second},
		"fifty": {5 * time.Minute, 50, 10 * time.Second, 5 * time.Second, 150 * time.Second,
			250 * time.Millisecond, 150 * time.Second},
		"the longest bound": {time.Hour, 1, 2 * time.Second, 5 * time.Second, 5 * time.Minute, 5 * time.Millisecond,
			5 * time.Minute},
		"the shortest bound": {2 * time.Second, 1, 500 * time.Millisecond, time.Second, time.Second,
			5 * time.Millisecond, 20 * time.Second},
		"short, and fifty": {4 * time.Second, 50, time.Second, 2 * time.Second, 2 * time.Second,
			250 * time.Millisecond, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			p := &intervals{bound: test.bound}
			p.replicas.Store(test.replicas)
			for what, durations := range map[string][2]time.Duration{
				"from one proof to the next": {p.probes(), test.interval},
				"how long a proof may take":  {p.timeout(), test.timeout},
				"after one change": {p.acknowledgements(time.Millisecond, 1),
					test.acknowledgements - time.Millisecond},
				"after one change that took a second": {p.acknowledgements(time.Second, 1), 0},
				"after several changes": {p.acknowledgements(time.Millisecond, 2),
					max(4*time.Millisecond, test.acknowledgements-time.Millisecond)},
				"after several changes that took a second":  {p.acknowledgements(time.Second, 2), 250 * time.Millisecond},
				"from one audit to the next":                {p.audit(0, 0), test.audit},
				"from lists that took 10 ms":                {p.lists(10 * time.Millisecond), min(5*time.Second, test.bound/8)},
				"from lists that took a second":             {p.lists(time.Second), min(10*time.Second, test.bound/4)},
				"from lists that took an hour":              {p.lists(time.Hour), test.bound / 4},
				"after an audit whose list took a second":   {p.audit(0, time.Second), test.afterAList},
				"from one audit to the next, as configured": {p.audit(time.Second, 0), time.Second},
			} {
				if durations[0] != durations[1] {
					t.Errorf("%s: %s, want %s", what, durations[0], durations[1])
				}
			}
		})
	}
}

// TestProbeContext checks that a proof is given up when no data has arrived for a while, and not because it takes long
// while data arrives.
func TestProbeContext(t *testing.T) {
	p := &intervals{bound: time.Minute}
	for name, test := range map[string]struct{ each, after time.Duration }{
		"nothing comes":                     {time.Hour, usualTimeout},
		"something comes again and again":   {usualTimeout - time.Second, p.bound / 2},
		"something comes, but not for long": {usualTimeout + time.Second, usualTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				call, advances, end := p.probeContext(t.Context())
				defer end()
				for tick := time.NewTicker(test.each); call.Err() == nil; {
					select {
					case <-tick.C:
						advances()
					case <-call.Done():
						tick.Stop()
					}
				}
				if took := time.Since(began); took != test.after || !errors.Is(context.Cause(call), context.DeadlineExceeded) {
					t.Errorf("given up after %s (%v), want %s", took, context.Cause(call), test.after)
				}
			})
		})
	}
	call, _, end := p.probeContext(t.Context())
	end()
	if !errors.Is(context.Cause(call), context.Canceled) {
		t.Errorf("a proof that ended in time: %v", context.Cause(call))
	}
}
