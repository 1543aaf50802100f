// Package census counts keys and tenants for the controller's metrics: how many there are in each state, never which. No label
// grows with keys or tenants.
//
// It keeps a few words of each from the cache's watch, and counts those when it is asked, so that a scrape neither copies
// objects nor asks the API server. Every replica does, whether it leads or not: one that leads and is stuck is seen by the
// others.
package census

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

// windows are how far ahead keys are counted that will expire, by their label.
var windows = map[string]time.Duration{"1d": day, "7d": 7 * day, "30d": 30 * day}

// shares are the parts of a quota from which tenants are counted as having used them.
var shares = []float64{0.8, 0.9, 1}

var (
	keysDesc = prometheus.NewDesc("apikey_controller_keys",
		"ApiKeys, by state (ready, waiting, stalled, suspended, expired, revoked) and the reason of the condition that says so.",
		[]string{"state", "reason"}, nil)
	expiringDesc = prometheus.NewDesc("apikey_controller_keys_expiring",
		"ApiKeys in use that expire within 1d, 7d or 30d; those with less time left are among those with more. A key whose whole life is no longer than the window is not.",
		[]string{"within"}, nil)
	waitingDesc = prometheus.NewDesc("apikey_controller_oldest_waiting_seconds",
		"How long the ApiKey waits for the controller or the verifiers that waits the longest; 0 if none does.", nil, nil)
	tenantsDesc = prometheus.NewDesc("apikey_controller_tenants",
		"Tenants.", nil, nil)
	quotaDesc = prometheus.NewDesc("apikey_controller_tenants_quota",
		"Tenants that have used at least the part of their quota that the label says.", []string{"used_at_least"}, nil)
)

// Census is a collector of metrics.
type Census struct {
	clock clock.PassiveClock

	mu   sync.Mutex
	keys map[types.NamespacedName]keyFacts
	// verdicts are those of keys, by the number that keys' facts have.
	verdicts verdicts
	tenants  map[string]float64 // the part of the quota that is used, by name
}

// New returns a census in which there is nothing.
func New(clk clock.PassiveClock) *Census {
	return &Census{clock: clk, keys: map[types.NamespacedName]keyFacts{}, tenants: map[string]float64{}}
}

// Watch has a cache keep the census up to date.
func (c *Census) Watch(ctx context.Context, informers cache.Informers) error {
	for object, note := range map[client.Object]toolscache.ResourceEventHandlerFuncs{
		&keysv1alpha1.ApiKey{}: {
			AddFunc:    c.noteKey,
			UpdateFunc: func(_, after any) { c.noteKey(after) },
			DeleteFunc: func(object any) { forget(c, object, func(name types.NamespacedName) { delete(c.keys, name) }) },
		},
		&keysv1alpha1.Tenant{}: {
			AddFunc:    c.noteTenant,
			UpdateFunc: func(_, after any) { c.noteTenant(after) },
			DeleteFunc: func(object any) { forget(c, object, func(name types.NamespacedName) { delete(c.tenants, name.Name) }) },
		},
	} {
		informer, err := informers.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return err
		}
		if _, err := informer.AddEventHandler(note); err != nil {
			return err
		}
	}
	return nil
}

func (c *Census) noteKey(object any) {
	key, ok := object.(*keysv1alpha1.ApiKey)
	if !ok || keystate.IsCanary(key) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	name := client.ObjectKeyFromObject(key) // Its texts are the cache's own.
	facts := factsOf(key, c.keys[name], c.clock.Now())
	facts.verdict = c.verdicts.number(verdictOf(key))
	c.keys[name] = facts
}

func (c *Census) noteTenant(object any) {
	tenant, ok := object.(*keysv1alpha1.Tenant)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tenants[tenant.Name] = float64(len(tenant.Status.ActiveKeys)) / float64(max(ledger.Max(tenant), 1))
}

// forget takes a deleted object out.
func forget(c *Census, object any, remove func(types.NamespacedName)) {
	name, err := toolscache.DeletionHandlingObjectToName(object)
	if err != nil {
		return // It is no object, so it isn't there.
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	remove(types.NamespacedName{Namespace: name.Namespace, Name: name.Name})
}

// Describe implements prometheus.Collector.
func (c *Census) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{keysDesc, expiringDesc, waitingDesc, tenantsDesc, quotaDesc} {
		to <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *Census) Collect(to chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	byState := make([]int, len(c.verdicts))
	expiring := map[string]int{}
	var oldest time.Duration
	for _, facts := range c.keys {
		byState[facts.verdict]++
		if facts.waitingSince != 0 {
			oldest = max(oldest, instantOf(now).sub(facts.waitingSince))
		}
		for label, window := range windows {
			if facts.expiresWithin(window, c.verdicts[facts.verdict].state, now) {
				expiring[label]++
			}
		}
	}
	for i, count := range byState {
		if count > 0 {
			gauge(keysDesc, float64(count), c.verdicts[i].state, c.verdicts[i].reason)
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
