package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/feed"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// probeInterval is the interval of a replica that is alone.
const probeInterval = 2 * time.Second

// probes counts the writes to the canary with more and more replicas: each is a feed of its own, with its own
// connections.
func probes(ctx context.Context, bed *testbed) error {
	if err := bed.install(ctx); err != nil {
		return err
	}
	kubeconfig, err := bed.cp.ServiceAccountKubeconfig("apikey-verifier")
	if err != nil {
		return err
	}
	canary := types.NamespacedName{Namespace: controlplane.SystemNamespace, Name: keysv1alpha1.CanaryName}
	running, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	var feeds []*feed.Feed
	for _, n := range []int{1, 3, 10, 25, 50} {
		for len(feeds) < n {
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return err
			}
			f, err := feed.New(feed.Options{
				Config: config, Canary: canary, Name: fmt.Sprintf("verifier-%d", len(feeds)), MaxStaleness: 5 * time.Minute,
				View: index.NewView(), Log: logr.Discard(), Clock: time.Now,
			})
			if err != nil {
				return err
			}
			feeds = append(feeds, f)
			group.Go(func() { _ = f.Start(running) })
		}
		if err := until(ctx, 20*time.Millisecond, func() bool { return allReady(feeds) }); err != nil {
			return err
		}
		// There are about 5 probes per second in all. A round follows one whose interval may have been set for fewer
		// replicas.
		window := max(2*probeInterval, time.Duration(n)*200*time.Millisecond)
		rate, size, err := bed.canaryWrites(ctx, canary, window)
		if err != nil {
			return err
		}
		bed.results.add(figure{
			Name: fmt.Sprintf("probes: writes to the canary, %d replicas", n), Value: rate, Unit: "1/s",
			Baseline: float64(n) / probeInterval.Seconds(), Goal: "≤ 6 /s, all together", Met: rate <= 6,
		})
		if n == 50 {
			bed.results.add(figure{
				Name: "probes: size of the canary, 50 replicas", Value: float64(size) / 1024, Unit: "KiB", Goal: "≤ 64 KiB",
				Met: size <= 64<<10,
			})
		}
	}
	return nil
}

func allReady(feeds []*feed.Feed) bool {
	for _, f := range feeds {
		if f.Ready() != nil {
			return false
		}
	}
	return true
}

// canaryWrites counts the writes to the canary for a while, after it has settled for as long. It returns the rate and
// the object's size.
func (bed *testbed) canaryWrites(ctx context.Context, name types.NamespacedName, window time.Duration) (float64, int,
	error) {
	ctx, cancel := context.WithTimeout(ctx, 2*window)
	defer cancel()
	watcher, err := bed.cp.Client.Watch(ctx, &keysv1alpha1.ApiKeyList{}, client.InNamespace(name.Namespace))
	if err != nil {
		return 0, 0, err
	}
	defer watcher.Stop()
	began, writes, size := time.Now(), 0, 0
	for event := range watcher.ResultChan() {
		key, ok := event.Object.(*keysv1alpha1.ApiKey)
		if !ok || time.Since(began) < window {
			continue
		}
		writes++
		size = footprint(key)
	}
	return float64(writes) / window.Seconds(), size, nil
}

// footprint returns how many bytes of an object are there because of verifiers.
func footprint(key *keysv1alpha1.ApiKey) (size int) {
	for name, value := range key.Annotations {
		size += len(name) + len(value)
	}
	for _, fields := range key.ManagedFields {
		size += len(fields.Manager)
		if fields.FieldsV1 != nil {
			size += len(fields.FieldsV1.GetRawBytes())
		}
	}
	return size
}
