package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

const (
	mintingRounds = 3
	// mintedKeys is the number of keys in a round, without verifiers and with them.
	mintedKeys = 20
)

// minting measures the time from a key's creation to Ready, without verifiers and with them, compared with a round trip
// through the API server between as many bare clients.
func minting(ctx context.Context, bed *testbed) error {
	if err := bed.install(ctx); err != nil {
		return err
	}
	if _, err := bed.controller(ctx); err != nil {
		return err
	}
	people := &population{}
	if _, err := bed.mintKeys(ctx, people, 3); err != nil { // Warms up the controller.
		return err
	}
	var alone, waited, there, added samples
	for range mintingRounds {
		without, err := bed.mintKeys(ctx, people, bed.times(mintedKeys))
		if err != nil {
			return err
		}
		verifiers, err := bed.verifiers(ctx, replicas)
		if err != nil {
			return err
		}
		with, err := bed.mintKeys(ctx, people, bed.times(mintedKeys))
		if err != nil {
			return err
		}
		trips, err := bed.roundTrips(ctx, people.tenants[0].Name, bed.times(mintedKeys))
		if err != nil {
			return err
		}
		for _, v := range verifiers {
			if err := bed.stop(v); err != nil {
				return err
			}
		}
		alone, waited, there = append(alone, without.median()), append(waited, with.median()), append(there, trips.median())
		added = append(added, with.median()-without.median())
	}
	bed.results.add(figure{
		Name: "minting: until Ready, 3 verifiers, median", Value: waited.median(), Unit: "ms", Baseline: alone.median(),
		Spread: waited.spread(),
		Goal:   "at most one round trip above none", verdict: added.by(there).atMost(1),
	})
	bed.results.add(inTurns("minting: added by waiting for 3 verifiers, by there and back to 3 bare clients", "ms",
		"≤ 1 ×", added, there, atMost(1)))
	return nil
}

// mintKeys creates keys one after another, each in a tenant with room, and returns how long each took to be Ready, in
// milliseconds.
func (bed *testbed) mintKeys(ctx context.Context, people *population, n int) (samples, error) {
	tenant, err := bed.tenant(ctx, people)
	if err != nil {
		return nil, err
	}
	var took samples
	for range n {
		key := fixture.ApiKey(tenant.Name, fixture.Name("key"))
		began := time.Now()
		if err := bed.cp.Client.Create(ctx, key); err != nil {
			return nil, err
		}
		if err := bed.awaitReady(ctx, key); err != nil {
			return nil, err
		}
		took = append(took, milliseconds(time.Since(began)))
	}
	return took, nil
}

// roundTrips measures round trips: one object is written, and as many watchers of it as there are verifiers write to
// another, until its watcher has seen all of these writes. It returns milliseconds.
func (bed *testbed) roundTrips(ctx context.Context, namespace string, n int) (samples, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var keys [2]*keysv1alpha1.ApiKey
	for i := range keys {
		keys[i] = fixture.ApiKey(namespace, fixture.Name("trip"), func(k *keysv1alpha1.ApiKey) {
			k.Spec.State = keysv1alpha1.ApiKeySuspended
		})
		if err := bed.cp.Client.Create(ctx, keys[i]); err != nil {
			return nil, err
		}
	}
	time.Sleep(200 * time.Millisecond) // By then the controller is done with them.
	there, back := keys[0], keys[1]
	labels := make([]string, replicas)
	for i := range labels {
		labels[i] = fmt.Sprintf("trip-%d", i)
		seen, err := bed.changes(ctx, there, "trip")
		if err != nil {
			return nil, err
		}
		go func() {
			for value := range seen {
				if err := bed.touch(ctx, back, labels[i], value); err != nil {
					cancel(err)
				}
			}
		}()
	}
	returned, err := bed.changes(ctx, back, labels...)
	if err != nil {
		return nil, err
	}
	var took samples
	for i := range n {
		began := time.Now()
		if err := bed.touch(ctx, there, "trip", strconv.Itoa(i)); err != nil {
			return nil, err
		}
		if _, ok := <-returned; !ok {
			return nil, fmt.Errorf("a watch ended: %w", context.Cause(ctx))
		}
		took = append(took, milliseconds(time.Since(began)))
	}
	return took, nil
}

// changes returns the new value of some labels of a key, each time that all of them have changed to the same value.
func (bed *testbed) changes(ctx context.Context, key *keysv1alpha1.ApiKey, labels ...string) (<-chan string, error) {
	watcher, err := bed.watch(ctx, client.ObjectKeyFromObject(key), "0")
	if err != nil {
		return nil, err
	}
	values := make(chan string, 1)
	go func() {
		defer close(values)
		defer watcher.Stop()
		last := ""
		for event := range watcher.ResultChan() {
			seen, ok := event.Object.(*keysv1alpha1.ApiKey)
			if !ok {
				continue
			}
			value := seen.Labels[labels[0]]
			others := slices.ContainsFunc(labels, func(label string) bool { return seen.Labels[label] != value })
			if !others && value != last {
				last = value
				values <- value
			}
		}
	}()
	return values, nil
}

func (bed *testbed) touch(ctx context.Context, key *keysv1alpha1.ApiKey, label, value string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, label, value)
	return bed.cp.Client.Patch(ctx, key.DeepCopy(), client.RawPatch(types.MergePatchType, patch))
}
