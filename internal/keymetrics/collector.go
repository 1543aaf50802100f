// Package keymetrics counts keys and tenants for the controller's metrics: how many there are in each state, never
// which ones. The number of time series does not grow with keys or tenants.
//
// It keeps a small sample of each object from the cache's watch and counts the samples when it is scraped, so that a
// scrape neither copies objects nor calls the API server. Every replica does so, whether it leads or not: if the leader
// is stuck, the others show it.
package keymetrics

import (
	"cmp"
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/ledger"
)

const day = 24 * time.Hour

// windows are how far ahead expiring keys are counted, by label.
var windows = map[string]time.Duration{"1d": day, "7d": 7 * day, "30d": 30 * day}

// shares are the parts of a quota for which the tenants that have used them are counted.
var shares = []float64{0.8, 0.9, 1}

var (
	keysDesc = prometheus.NewDesc("apikey_controller_keys",
		"ApiKeys, by state (ready, waiting, stalled, suspended, expired, revoked) and the reason of the condition that "+
			"says so.",
		[]string{"state", "reason"}, nil)
	expiringDesc = prometheus.NewDesc("apikey_controller_keys_expiring",
		"ApiKeys in use that expire within 1d, 7d or 30d; those with less time left are among those with more. A key "+
			"whose whole life is no longer than the window is not.",
		[]string{"within"}, nil)
	waitingDesc = prometheus.NewDesc("apikey_controller_oldest_waiting_seconds",
		"How long the ApiKey waits for the controller or the verifiers that waits the longest; 0 if none does.", nil, nil)
	tenantsDesc = prometheus.NewDesc("apikey_controller_tenants",
		"Tenants.", nil, nil)
	quotaDesc = prometheus.NewDesc("apikey_controller_tenants_quota",
		"Tenants that have used at least the part of their quota that the label says.", []string{"used_at_least"}, nil)
)

// Collector collects the metrics of keys and tenants.
type Collector struct {
	clock clock.PassiveClock

	mu   sync.Mutex
	keys map[types.NamespacedName]keySample
	// states has the states of keys, by the number that is in keys' samples.
	states  states
	tenants map[string]float64 // the part of the quota that is used, by name
}

// New returns a collector that has counted nothing yet.
func New(clk clock.PassiveClock) *Collector {
	return &Collector{clock: clk, keys: map[types.NamespacedName]keySample{}, tenants: map[string]float64{}}
}

// Watch keeps the collector up to date from a cache.
func (c *Collector) Watch(ctx context.Context, informers cache.Informers) error {
	for object, handler := range map[client.Object]toolscache.ResourceEventHandlerFuncs{
		&keysv1alpha1.ApiKey{}: {
			AddFunc:    c.updateKey,
			UpdateFunc: func(_, after any) { c.updateKey(after) },
			DeleteFunc: func(object any) { forget(c, object, func(name types.NamespacedName) { delete(c.keys, name) }) },
		},
		&keysv1alpha1.Tenant{}: {
			AddFunc:    c.updateTenant,
			UpdateFunc: func(_, after any) { c.updateTenant(after) },
			DeleteFunc: func(object any) { forget(c, object, func(name types.NamespacedName) { delete(c.tenants, name.Name) }) },
		},
	} {
		informer, err := informers.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return err
		}
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	return nil
}

func (c *Collector) updateKey(object any) {
	key, ok := object.(*keysv1alpha1.ApiKey)
	if !ok || keystate.IsCanary(key) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	name := client.ObjectKeyFromObject(key) // Its strings share the cache's memory.
	sample := sampleOf(key, c.keys[name], c.clock.Now())
	sample.state = c.states.number(stateOf(key))
	c.keys[name] = sample
}

func (c *Collector) updateTenant(object any) {
	tenant, ok := object.(*keysv1alpha1.Tenant)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tenants[tenant.Name] = float64(len(tenant.Status.ActiveKeys)) / float64(max(ledger.Max(tenant), 1))
}

// forget removes a deleted object.
func forget(c *Collector, object any, remove func(types.NamespacedName)) {
	name, err := toolscache.DeletionHandlingObjectToName(object)
	if err != nil {
		return // It is not an object, so there is nothing to remove.
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	remove(types.NamespacedName{Namespace: name.Namespace, Name: name.Name})
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{keysDesc, expiringDesc, waitingDesc, tenantsDesc, quotaDesc} {
		to <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	byState := make([]int, len(c.states))
	expiring := map[string]int{}
	var oldest time.Duration
	for _, sample := range c.keys {
		byState[sample.state]++
		if sample.waitingSince != 0 {
			oldest = max(oldest, instantOf(now).sub(sample.waitingSince))
		}
		for label, window := range windows {
			if sample.expiresWithin(window, c.states[sample.state].name, now) {
				expiring[label]++
			}
		}
	}
	for i, count := range byState {
		if count > 0 {
			gauge(keysDesc, float64(count), c.states[i].name, c.states[i].reason)
		}
	}
	for label := range windows {
		gauge(expiringDesc, float64(expiring[label]), label)
	}
	gauge(waitingDesc, oldest.Seconds())
	gauge(tenantsDesc, float64(len(c.tenants)))
	for _, share := range shares {
		count := 0
		for _, used := range c.tenants {
			if cmp.Compare(used, share) >= 0 {
				count++
			}
		}
		gauge(quotaDesc, float64(count), strconv.FormatFloat(share, 'g', -1, 64))
	}
}
