package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

const (
	// floodRate is how many requests per second are sent beside those that are timed, over floodLines connections.
	floodRate  = 10_000
	floodLines = 16
	// floodTick is how often each connection sends its share.
	floodTick = 10 * time.Millisecond
	// junkRounds of junkWindow are 30 seconds of junk. The baseline takes besideWindow in each round.
	junkRounds   = 10
	junkWindow   = 3 * time.Second
	besideWindow = time.Second
)

// junk measures how a flood of unknown tokens affects memory and the latency of valid keys: with no other requests,
// during the flood, and during as many requests of valid keys, which cost the machine at least as much.
func junk(ctx context.Context, bed *testbed) error {
	if err := bed.install(ctx); err != nil {
		return err
	}
	people, err := bed.populate(ctx, bed.times(1000), perTenant, 0)
	if err != nil {
		return err
	}
	v, err := bed.verifier(ctx, "verifier-0", "--usage-write-budget=0")
	if err != nil {
		return err
	}
	if err := v.ready(ctx); err != nil {
		return err
	}
	good := make([][]byte, len(people.keys))
	for i, key := range people.keys {
		good[i] = question(key)
	}
	none := unknownTokens(people.keys[0].tenantID, 20_000)
	// Warm up with a round that does not count, so that connections, buffers and the heap reach their final size.
	for _, flood := range [][][]byte{good, none} {
		if _, err := beside(ctx, v, good[0], flood, besideWindow); err != nil {
			return err
		}
	}
	before, err := v.metric(ctx, "process_resident_memory_bytes")
	if err != nil {
		return err
	}
	var calm, besideGood, besideJunk, rates samples
	for range bed.times(junkRounds) {
		for _, round := range []struct {
			flood  [][]byte
			window time.Duration
			into   *samples
		}{{nil, besideWindow, &calm}, {good, besideWindow, &besideGood}, {none, junkWindow, &besideJunk}} {
			seen, err := beside(ctx, v, good[0], round.flood, round.window)
			if err != nil {
				return err
			}
			*round.into = append(*round.into, seen.median)
			if round.into == &besideJunk {
				rates = append(rates, seen.rate)
			}
		}
	}
	after, err := v.metric(ctx, "process_resident_memory_bytes")
	if err != nil {
		return err
	}
	bed.results.add(figure{
		Name: "junk: tokens that are none", Value: rates.median(), Unit: "1/s", Spread: rates.spread(),
		Goal: "≥ 9,500 /s", verdict: rates.atLeast(0.95 * floodRate),
	})
	bed.results.add(inTurns("junk: a good request beside it, by one beside as many good ones", "µs", "≤ 1.1", besideJunk,
		besideGood, atMost(1.1)))
	bed.results.add(inTurns("junk: a good request beside it, by one beside nothing", "µs",
		"≤ 2, the flood's sender included", besideJunk, calm, atMost(2)))
	bed.results.add(figure{
		Name: "junk: memory after it, by memory before", Value: after / (1 << 20), Baseline: before / (1 << 20),
		Unit: "MiB", Goal: "≤ 1.1", Met: after <= 1.1*before,
	})
	return nil
}

// unknownTokens returns requests with tokens of no key. Every other one also has a wrong checksum.
func unknownTokens(tenantID string, n int) [][]byte {
	questions := make([][]byte, n)
	for i := range questions {
		s := subject{tenantID: tenantID, token: mint(fixture.UUID()).Reveal()}
		if i%2 == 0 {
			s.token = s.token[:len(s.token)-1] + "-"
		}
		questions[i] = question(s)
	}
	return questions
}

// floodRound is what was measured in one round.
type floodRound struct {
	// median is how long a request of a valid key took, in microseconds.
	median float64
	// rate is how many other requests there were per second.
	rate float64
}

// beside times requests of a valid key for a while, during a flood of others.
func beside(ctx context.Context, v *process, timed []byte, flood [][]byte, window time.Duration) (floodRound, error) {
	ctx, cancel := context.WithTimeout(ctx, window)
	defer cancel()
	var group sync.WaitGroup
	sent, failed := make([]int, floodLines), make([]error, floodLines+1)
	if len(flood) > 0 {
		for n := range floodLines {
			group.Go(func() { sent[n], failed[n] = sendFlood(ctx, v.address, flood[n*len(flood)/floodLines:]) })
		}
	}
	var took samples
	group.Go(func() { took, failed[floodLines] = timeEach(ctx, v.address, timed) })
	group.Wait()
	all := 0
	for _, n := range sent {
		all += n
	}
	for _, err := range failed {
		if err != nil {
			return floodRound{}, err
		}
	}
	return floodRound{median: took.median(), rate: float64(all) / window.Seconds()}, nil
}

// timeEach sends the same request again and again until the context ends, and times each.
func timeEach(ctx context.Context, address string, q []byte) (took samples, err error) {
	l, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	defer l.close()
	for ctx.Err() == nil {
		began := time.Now()
		status, err := l.ask(q)
		if err != nil || status != 200 {
			return nil, fmt.Errorf("a good key is answered %d: %w", status, err)
		}
		took = append(took, float64(time.Since(began))/float64(time.Microsecond))
		time.Sleep(pollGap)
	}
	return took, nil
}

// sendFlood sends requests at one connection's share of the rate until the context ends, and returns how many it sent.
func sendFlood(ctx context.Context, address string, questions [][]byte) (sent int, err error) {
	l, err := dial(ctx, address)
	if err != nil {
		return 0, err
	}
	defer l.close()
	began := time.Now()
	for ctx.Err() == nil {
		expected := int(time.Since(began).Seconds() * floodRate / floodLines)
		for ; sent < expected && ctx.Err() == nil; sent++ {
			if _, err := l.ask(questions[sent%len(questions)]); err != nil {
				return sent, err
			}
		}
		time.Sleep(floodTick)
	}
	return sent, nil
}
