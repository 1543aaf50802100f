package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	// few and many are numbers of keys.
	few, many = 1000, 1_000_000
	// decisionRounds of decisionStretch requests each are short, so that most of them are not interrupted.
	decisionRounds  = 2000
	decisionStretch = 1000
)

// decision1000 measures the decision while all data is in the processor's caches.
func decision1000(ctx context.Context, bed *testbed) error {
	c := newSyntheticIndex(few, few)
	decisions, alone, err := sideBySide(ctx, bed, few, c.decides(verify.ReasonAllowed), c.hashes)
	if err != nil {
		return err
	}
	bed.results.add(inNanoseconds("decision-1000: by SHA-256 of the token alone", decisions, alone, c.allocations(), 350))
	return nil
}

// malformedToken measures the decision about tokens with a wrong checksum and no other fault: those take longest to
// refuse.
func malformedToken(ctx context.Context, bed *testbed) error {
	c := newSyntheticIndex(few, few)
	c.misspell()
	decisions, alone, err := sideBySide(ctx, bed, few, c.decides(verify.ReasonMalformedToken), c.hashes)
	if err != nil {
		return err
	}
	bed.results.add(inNanoseconds("malformed: by SHA-256 of the token alone", decisions, alone, c.allocations(), 60))
	return nil
}

// decision1m measures the decision while hardly any data is in the processor's caches, compared with the least that
// could find a key: its digest in a Go map.
func decision1m(ctx context.Context, bed *testbed) error {
	c := newSyntheticIndex(bed.times(many), bed.times(many))
	found := make(map[token.Digest]uint32, len(c.bearers))
	for i := range c.bearers {
		found[token.DigestOf(c.token(i))] = uint32(i)
	}
	decisions, alone, err := sideBySide(ctx, bed, len(c.bearers), c.decides(verify.ReasonAllowed), func(i int) error {
		if found[sha256.Sum256([]byte(c.token(i)))] != uint32(i) {
			return fmt.Errorf("the map lacks key %d", i)
		}
		return nil
	})
	if err != nil {
		return err
	}
	bed.results.add(inTurns("decision-1m: by SHA-256 and a look into Go's map", "ns", "≤ 1.6", decisions, alone,
		atMost(1.6)))
	return nil
}

// decides returns a function that decides the request of a key, and fails if the reason is another one.
func (s *syntheticIndex) decides(want verify.Reason) func(int) error {
	return func(i int) error {
		if got := s.ask(i); got.Reason != want {
			return fmt.Errorf("key %d: decided %s", i, got.Reason)
		}
		return nil
	}
}

// hashes computes the digest of a key's token and nothing else.
func (s *syntheticIndex) hashes(i int) error {
	if sha256.Sum256([]byte(s.token(i))) == (token.Digest{}) {
		return fmt.Errorf("key %d: no digest", i) // Otherwise the compiler would remove the computation.
	}
	return nil
}

func (s *syntheticIndex) allocations() float64 {
	return testing.AllocsPerRun(1000, func() { s.ask(0) })
}

// goalsHash is how many nanoseconds SHA-256 of a token took on the machine on which the goals in nanoseconds were set.
// On another machine the goals are scaled by the time that it takes there.
const goalsHash = 88

func inNanoseconds(name string, value, baseline samples, allocations, goal float64) figure {
	words := fmt.Sprintf("≤ %v ns where SHA-256 takes %v: %.1f, 0 allocations", goal, goalsHash, goal/goalsHash)
	f := inTurns(name, "ns", words, value, baseline, atMost(goal/goalsHash))
	f.Spread += fmt.Sprintf(", %v allocations", allocations)
	if allocations > 0 {
		f.verdict = missed
	}
	return f
}

// sideBySide times two functions in turns, over stretches of keys out of n, and returns the nanoseconds per call of
// each.
func sideBySide(ctx context.Context, bed *testbed, n int, one, other func(i int) error) (ones, others samples,
	err error) {
	runtime.GC()
	stretch := min(decisionStretch, n)
	for range bed.times(decisionRounds) {
		for _, it := range []struct {
			do   func(int) error
			into *samples
		}{{one, &ones}, {other, &others}} {
			first := (len(ones) + len(others)) * stretch % (n - stretch + 1)
			began := time.Now()
			for i := first; i < first+stretch; i++ {
				if err := it.do(i); err != nil {
					return nil, nil, err
				}
			}
			*it.into = append(*it.into, float64(time.Since(began))/float64(stretch))
		}
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
	}
	return ones, others, nil
}

// indexMemory compares the memory of a credential in the index with that of its digest alone in a Go map.
func indexMemory(_ context.Context, bed *testbed) error {
	n := bed.times(many)
	before := liveBytes()
	c := newSyntheticIndex(n, 0)
	c.bearers, c.tenants = nil, nil
	after := liveBytes()
	digests := map[token.Digest]struct{}{}
	for i := range n {
		digests[token.DigestOf(spell(i))] = struct{}{}
	}
	alone := liveBytes() - after
	perKey := (after - before) / float64(n)
	bed.results.add(figure{
		Name: "index-memory: a credential, by its digest in Go's map", Value: perKey, Baseline: alone / float64(n), Unit: "B",
		Goal: "≤ 150 B", Met: perKey <= 150,
	})
	runtime.KeepAlive(digests)
	runtime.KeepAlive(c)
	return nil
}

func liveBytes() float64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // Frees what finalizers and pools have kept until now.
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

const (
	// updateRounds is the number of rounds of updateWindow each, with updates and without.
	updateRounds = 12
	updateWindow = 300 * time.Millisecond
	updateRate   = 1000
)

// updates1m measures how a writer affects readers.
func updates1m(ctx context.Context, bed *testbed) error {
	c := newSyntheticIndex(bed.times(many), bed.times(many))
	runtime.GC()
	var calm, busy, rates samples
	took := make([]time.Duration, 0, 1<<22)
	for range bed.times(updateRounds) {
		quiet, err := c.p99(ctx, took)
		if err != nil {
			return err
		}
		writing, stop := context.WithCancel(ctx)
		done := make(chan int)
		go func() { done <- c.update(writing) }()
		quantile, err := c.p99(ctx, took)
		stop()
		made := float64(<-done)
		if err != nil {
			return err
		}
		calm, busy, rates = append(calm, quiet), append(busy, quantile), append(rates, made/updateWindow.Seconds())
	}
	f := inTurns("updates-1m: readers' p99 beside 1,000 updates a second, by without", "ns", "≤ 1.5", busy, calm,
		atMost(1.5))
	f.Spread += fmt.Sprintf(", %.0f updates/s", rates.median())
	if rates.atLeast(0.9*updateRate) == missed {
		f.verdict = missed
	}
	bed.results.add(f)
	return nil
}

// update suspends and resumes keys at a fixed rate until the context ends. It returns how many times it did.
func (s *syntheticIndex) update(ctx context.Context) (made int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return made
		case <-tick.C:
		}
		for ; float64(made) < time.Since(began).Seconds()*updateRate; made++ {
			i := made * 7919 % len(s.bearers)
			s.put(i, token.DigestOf(s.token(i)), index.State(made%2)*index.StateSuspended)
		}
	}
}

// p99 times one decision after another for a while, and returns the 99th percentile.
func (s *syntheticIndex) p99(ctx context.Context, took []time.Duration) (float64, error) {
	for began := time.Now(); time.Since(began) < updateWindow && len(took) < cap(took); {
		i := s.somewhere(1)
		start := time.Now()
		got := s.ask(i)
		took = append(took, time.Since(start))
		if got.Reason != verify.ReasonAllowed && got.Reason != verify.ReasonSuspended {
			return 0, fmt.Errorf("key %d: decided %s", i, got.Reason)
		}
	}
	slices.Sort(took)
	return float64(took[len(took)*99/100]), context.Cause(ctx)
}
