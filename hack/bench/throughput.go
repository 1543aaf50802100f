package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

const (
	// throughputTenants is the number of tenants, with throughputKeys keys each.
	throughputTenants, throughputKeys = 250, quota
	// throughputRounds of the controller's and of a bare client's alternate. The bare client writes only a part of the
	// keys: its rate does not depend on their number.
	throughputRounds, barePart = 2, 5
	// writers is how many clients create keys at a time, and how many keys the bare client writes at a time.
	writers = 16
)

// throughput measures how many keys per second are minted, from creation to Ready, compared with how many times per
// second a bare client can make the same writes; and how many writes that takes.
func throughput(ctx context.Context, bed *testbed) error {
	if err := bed.install(ctx); err != nil {
		return err
	}
	people := &population{}
	share := bed.times(throughputTenants) / throughputRounds
	both := share + max(share/barePart, 1)
	if err := bed.addTenants(ctx, people, throughputRounds*both); err != nil {
		return err
	}
	if _, err := bed.verifiers(ctx, replicas); err != nil {
		return err
	}
	var own, alone, perKey, cpu samples
	for round := range throughputRounds {
		tenants := people.tenants[round*both : (round+1)*both]
		minted, err := bed.mintMany(ctx, tenants[:share])
		if err != nil {
			return err
		}
		rate, err := bed.writeMany(ctx, tenants[share:], minted)
		if err != nil {
			return err
		}
		fmt.Printf("  a key's writes: %v; controller's CPU: %.2g ms; %.3g keys/s, bare %.3g\n", minted.writes, minted.cpu,
			minted.rate, rate)
		own, alone = append(own, minted.rate), append(alone, rate)
		perKey, cpu = append(perKey, minted.writes.all()), append(cpu, minted.cpu)
	}
	n := share * throughputRounds
	name := fmt.Sprintf("minting: %d keys of %d tenants, to Ready, by the same writes of a bare client", n*throughputKeys,
		n)
	bed.results.add(inTurns(name, "1/s", "≥ 0.5", own, alone, func(ratios samples) verdict { return ratios.atLeast(0.5) }))
	bed.results.add(figure{
		Name: "minting: API writes per key, acknowledgements and events included", Value: perKey.median(), Unit: "writes",
		Spread: perKey.spread(), Goal: "≤ 5", verdict: perKey.atMost(5),
	})
	bed.results.add(figure{
		Name: "minting: controller's CPU per key", Value: cpu.median(), Unit: "ms", Spread: cpu.spread(), Goal: "none",
		Met: true,
	})
	return nil
}

// yield is what was measured while many keys were minted.
type yield struct {
	// rate is in keys per second.
	rate float64
	// writes is the number of writes per key that reached the API server, without the keys' creation.
	writes tally
	// cpu is the controller's processor time, in milliseconds per key.
	cpu float64
	// sample is one of the keys in its final state.
	sample keysv1alpha1.ApiKey
}

// mintMany lets a controller mint keys of tenants that have none.
func (bed *testbed) mintMany(ctx context.Context, tenants []*keysv1alpha1.Tenant) (y yield, err error) {
	controller, err := bed.controller(ctx)
	if err != nil {
		return y, err
	}
	if err := controller.idle(ctx); err != nil {
		return y, err
	}
	used, err := controller.cpu()
	if err != nil {
		return y, err
	}
	n := len(tenants) * throughputKeys
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	ready, err := bed.countReady(watching, tenants, n)
	if err != nil {
		return y, err
	}
	before, err := bed.writes(ctx)
	if err != nil {
		return y, err
	}
	began := time.Now()
	err = each(ctx, n, func(ctx context.Context, i int) error {
		return bed.cp.Client.Create(ctx,
			fixture.ApiKey(tenants[i%len(tenants)].Name, fmt.Sprintf("key-%02d", i/len(tenants))))
	})
	if err != nil {
		return y, err
	}
	if err := <-ready; err != nil {
		return y, fmt.Errorf("%w: %s", err, tail(controller.log.String()))
	}
	y.rate = float64(n) / time.Since(began).Seconds()
	// What is done after Ready counts too.
	if err := controller.idle(ctx); err != nil {
		return y, err
	}
	after, err := bed.writes(ctx)
	if err != nil {
		return y, err
	}
	y.writes = after.since(before, n)
	y.writes.Keys-- // The key's creation.
	total, err := controller.cpu()
	if err != nil {
		return y, err
	}
	y.cpu = milliseconds(total-used) / float64(n)
	if err := bed.cp.Client.Get(ctx, client.ObjectKey{Namespace: tenants[0].Name, Name: "key-00"}, &y.sample); err != nil {
		return y, err
	}
	return y, bed.stop(controller)
}

// countReady returns a channel that gets nil as soon as n keys of tenants have become Ready. It reads as little of each
// event as possible: its processor time is taken from what it watches.
func (bed *testbed) countReady(ctx context.Context, tenants []*keysv1alpha1.Tenant, n int) (<-chan error, error) {
	config := rest.CopyConfig(bed.cp.Config)
	config.GroupVersion, config.APIPath = &keysv1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(bed.cp.Client.Scheme()).WithoutConversion()
	api, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	c := &counter{wanted: n, namespaces: map[string]bool{}, ready: map[string]struct{}{}}
	for _, tenant := range tenants {
		c.namespaces[tenant.Name] = true
	}
	done := make(chan error, 1)
	go func() {
		for {
			// It starts with what exists. The API server ends a watch that it considers too slow, which on a busy
			// machine can be any watch.
			stream, err := api.Get().Resource("apikeys").VersionedParams(&metav1.ListOptions{Watch: true},
				metav1.ParameterCodec).Stream(ctx)
			if err == nil {
				err = c.count(stream)
				_ = stream.Close()
			}
			if err != nil || len(c.ready) >= n {
				done <- err
				return
			}
		}
	}()
	return done, nil
}

// counter counts the keys of some namespaces that have become Ready.
type counter struct {
	wanted     int
	namespaces map[string]bool
	ready      map[string]struct{}
}

// count reads watch events until the wanted number of keys are Ready, or the watch ends.
func (c *counter) count(stream io.Reader) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !bytes.Contains(lines.Bytes(), []byte(`"reason":"Ready","status":"True","type":"Ready"`)) {
			continue
		}
		var event struct {
			Object metav1.PartialObjectMetadata `json:"object"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return err
		}
		if c.namespaces[event.Object.Namespace] {
			c.ready[string(event.Object.UID)] = struct{}{}
		}
		if len(c.ready) == c.wanted {
			return nil
		}
	}
	return lines.Err()
}

// each calls a function with 0 to n-1, several at a time, until one call fails.
func each(ctx context.Context, n int, do func(context.Context, int) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					fail(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}
