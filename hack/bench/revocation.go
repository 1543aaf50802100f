package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

const (
	replicas = 3
	// calm is the pause between two revocations, so that what the controller writes about one isn't measured with the
	// next.
	calm = 20 * time.Millisecond
)

// ending is what was measured of one revocation, from the time when the API server had acknowledged it.
type ending struct {
	// last is the time until the last replica's first 401, bare the time until a bare watch of the same object
	// delivered it, and effective the time until the key's status said that no verifier accepts it.
	last, bare, effective time.Duration
	// late is how many requests were allowed though they were sent after that.
	late int
	// asking is the median duration of a request, in milliseconds: the delay that a busy machine adds.
	asking float64
}

// revocation measures how long a revocation takes while replicas answer requests: first on an otherwise idle cluster,
// then during a burst of creations.
func revocation(ctx context.Context, bed *testbed) error {
	// A poller whose request is answered must not wait for another goroutine of this process either.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(replicas + runtime.NumCPU()))
	if err := bed.install(ctx); err != nil {
		return err
	}
	people, err := bed.populate(ctx, bed.times(10_000), quota, 0)
	if err != nil {
		return err
	}
	controller, err := bed.controller(ctx)
	if err != nil {
		return err
	}
	verifiers, err := bed.verifiers(ctx, replicas)
	if err != nil {
		return err
	}
	if err := controller.idle(ctx); err != nil {
		return err
	}
	doomed := people.keys[:bed.times(1000)+bed.times(100)]
	alone, err := bed.endAll(ctx, verifiers, doomed[:bed.times(1000)], true, calm)
	if err != nil {
		return err
	}
	reportCalm(bed.results, alone)
	// What the controller does with each new object does not concern verifiers, and would slow down everything.
	if err := bed.stop(controller); err != nil {
		return err
	}
	burst := bed.burst(ctx, people.tenants[0].Name)
	hurried, err := bed.endAll(ctx, verifiers, doomed[bed.times(1000):], false, 0)
	rate := burst()
	if err != nil {
		return err
	}
	reportBurst(bed.results, hurried, rate)
	return nil
}

func reportCalm(results *resultList, endings []ending) {
	var last, alone, above, effective, asking samples
	late := 0
	for _, e := range endings {
		last, alone = append(last, milliseconds(e.last)), append(alone, milliseconds(e.bare))
		above, effective = append(above, milliseconds(e.last-e.bare)), append(effective, milliseconds(e.effective))
		asking = append(asking, e.asking)
		late += e.late
	}
	results.add(figure{
		Name: "revocation: last of 3 replicas refuses, median", Value: last.median(), Unit: "ms", Baseline: alone.median(),
		Spread: last.spread(), Goal: "at most 1 ms above a bare watch", Met: above.median() <= 1,
	})
	results.add(figure{
		// The last request before the refusal is part of it, and on a busy machine most of it.
		Name: "revocation: above a bare watch, median; beside one question", Value: above.median(), Unit: "ms",
		Baseline: asking.median(), Spread: above.spread(), Goal: "≤ 1 ms", Met: above.median() <= 1,
	})
	results.add(figure{
		Name: "revocation: last of 3 replicas refuses, maximum", Value: last.max(), Unit: "ms", Baseline: alone.max(),
		Goal: "≤ 25 ms", Met: last.max() <= 25,
		Spread: fmt.Sprintf("99 %% within %.3g, 99.9 %% within %.3g", last.quantile(0.99), last.quantile(0.999)),
	})
	results.add(figure{
		Name: "revocation: known to be effective, median", Value: effective.median(), Unit: "ms", Baseline: last.median(),
		Spread: effective.spread(), Goal: "≤ 1 s", Met: effective.max() <= 1000,
	})
	results.add(figure{
		Name: "revocation: accepted after RevocationEffective", Value: float64(late), Unit: "requests", Goal: "0",
		Met: late == 0,
	})
}

func reportBurst(results *resultList, endings []ending, rate float64) {
	var last, alone, above samples
	for _, e := range endings {
		last, alone = append(last, milliseconds(e.last)), append(alone, milliseconds(e.bare))
		above = append(above, milliseconds(e.last-e.bare))
	}
	results.add(figure{
		Name: "revocation in a burst: last of 3 replicas refuses, median", Value: last.median(), Unit: "ms",
		Baseline: alone.median(), Spread: last.spread(), Goal: "at most 50 ms above a bare watch", Met: above.median() <= 50,
	})
	results.add(figure{
		Name: "revocation in a burst: above a bare watch, maximum", Value: above.max(), Unit: "ms", Spread: above.spread(),
		Goal: "≤ 50 ms", Met: above.max() <= 50,
	})
	results.add(figure{
		Name: "revocation in a burst: creations while it lasted", Value: rate, Unit: "1/s", Goal: "≥ 400", Met: rate >= 400,
	})
}

// endAll revokes keys one after another, with a pause after each.
func (bed *testbed) endAll(ctx context.Context, verifiers []*process, doomed []subject, effective bool,
	rest time.Duration) ([]ending, error) {
	endings := make([]ending, 0, len(doomed))
	for _, s := range doomed {
		e, err := bed.end(ctx, verifiers, s, effective)
		if err != nil {
			return nil, fmt.Errorf("revoking %s: %w", s.name, err)
		}
		endings = append(endings, e)
		if err := pauseFor(ctx, rest); err != nil {
			return nil, err
		}
	}
	return endings, nil
}

// end revokes a key while every replica is polled with it.
func (bed *testbed) end(ctx context.Context, verifiers []*process, s subject, untilEffective bool) (ending, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	watched, err := bed.watchEnd(ctx, s, untilEffective)
	if err != nil {
		return ending{}, err
	}
	asking, effective := make(chan struct{}), make(chan struct{})
	var answered atomic.Int64 // Nanoseconds since 1970; 0 before the API server's response.
	sights := make([]sight, len(verifiers))
	var pollers sync.WaitGroup
	for i, v := range verifiers {
		pollers.Go(func() { sights[i] = poll(ctx, v.address, s, asking, &answered, effective) })
	}
	for range verifiers {
		<-asking
	}
	key := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{Namespace: s.name.Namespace, Name: s.name.Name}}
	err = bed.cp.Client.Patch(ctx, key, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"state":"Revoked"}}`)))
	acknowledged := time.Now()
	answered.Store(acknowledged.UnixNano())
	if err != nil {
		cancel() // Otherwise the pollers would wait forever.
	}
	times, ok := <-watched
	close(effective)
	pollers.Wait()
	if err != nil || !ok {
		return ending{}, errors.Join(err, context.Cause(ctx))
	}
	e := ending{bare: times[0].Sub(acknowledged), effective: times[1].Sub(acknowledged)}
	for _, seen := range sights {
		if seen.err != nil {
			return ending{}, seen.err
		}
		e.asking = max(e.asking, seen.asking.median())
		e.last = max(e.last, seen.refused.Sub(acknowledged))
		if untilEffective {
			e.late += seen.late
		}
	}
	return e, nil
}

// watchEnd opens a bare watch of one key. The returned channel gets the time when the watch showed the key as revoked
// and, if untilEffective is set, the time when it showed the revocation as effective. It is closed without a value if
// the watch ends.
func (bed *testbed) watchEnd(ctx context.Context, s subject, untilEffective bool) (<-chan [2]time.Time, error) {
	watcher, err := bed.watch(ctx, s.name, "0")
	if err != nil {
		return nil, err
	}
	if event := <-watcher.ResultChan(); event.Object == nil {
		return nil, errors.New("the watch has ended")
	}
	watched := make(chan [2]time.Time, 1)
	go func() {
		defer close(watched)
		defer watcher.Stop()
		var revoked time.Time
		for event := range watcher.ResultChan() {
			key, ok := event.Object.(*keysv1alpha1.ApiKey)
			if !ok || key.Spec.State != keysv1alpha1.ApiKeyRevoked {
				continue
			}
			now := time.Now()
			if revoked.IsZero() {
				revoked = now
			}
			if !untilEffective ||
				apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective) {
				watched <- [2]time.Time{revoked, now}
				return
			}
		}
	}()
	return watched, nil
}

const (
	// burstRate is how many objects are created per second: somewhat more than the 400 that the goal names.
	burstRate = 450
	// burstWorkers is how many of them wait for the disk at a time: etcd writes to it once for all.
	burstWorkers = 32
)

// burst creates objects until stop is called, which returns how many it created per second.
func (bed *testbed) burst(ctx context.Context, namespace string) (stop func() float64) {
	ctx, cancel := context.WithCancel(ctx)
	var created atomic.Int64
	var workers sync.WaitGroup
	began := time.Now()
	orders := make(chan struct{}, burstRate)
	workers.Go(func() {
		defer close(orders)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ordered := 0; ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for expected := int(time.Since(began).Seconds() * burstRate); ordered < expected; ordered++ {
				select {
				case orders <- struct{}{}:
				default: // They don't come after.
				}
			}
		}
	})
	for range burstWorkers {
		workers.Go(func() {
			for range orders {
				if bed.cp.Client.Create(ctx, fixture.ApiKey(namespace, fixture.Name("burst"))) == nil {
					created.Add(1)
				}
			}
		})
	}
	return func() float64 {
		rate := float64(created.Load()) / time.Since(began).Seconds()
		cancel()
		workers.Wait()
		return rate
	}
}
