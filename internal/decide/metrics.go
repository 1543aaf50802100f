package decide

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// instruments count decisions and measure how long they take. Prometheus needs several steps to find a series by its
// labels; instruments cache the result, so that a decision takes one map look-up.
type instruments struct {
	decisions *prometheus.CounterVec
	durations *prometheus.HistogramVec

	mu sync.Mutex
	// known is the cache. It is replaced as a whole. Surfaces, outcomes and reasons are constants, so its size is bounded.
	known atomic.Pointer[map[kind]instrument]
}

// kind holds the labels that decisions are counted by.
type kind struct {
	surface string
	outcome verify.Outcome
	reason  verify.Reason
}

type instrument struct {
	count    prometheus.Counter
	duration prometheus.Observer
}

func newInstruments(registry prometheus.Registerer) *instruments {
	i := &instruments{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apikey_verifier_decisions_total",
			Help: "Decisions, by the surface that asked, the outcome and the reason.",
		}, []string{"surface", "outcome", "reason"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apikey_verifier_decision_duration_seconds",
			Help: "How long decisions take, by the surface that asked and the outcome, " +
				"without the time for the proxy's request and its answer.",
			Buckets: []float64{
				1e-6, 2.5e-6, 5e-6, 10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 1e-3, 5e-3, 25e-3, 100e-3,
			},
		}, []string{"surface", "outcome"}),
	}
	i.known.Store(&map[kind]instrument{})
	registry.MustRegister(i.decisions, i.durations)
	return i
}

// observe counts a decision and how long it took.
func (i *instruments) observe(k kind, took time.Duration) {
	found, ok := (*i.known.Load())[k]
	if !ok {
		found = i.find(k)
	}
	found.count.Inc()
	found.duration.Observe(took.Seconds())
}

// find finds the series of a kind and adds them to the cache.
func (i *instruments) find(k kind) instrument {
	i.mu.Lock()
	defer i.mu.Unlock()
	known := maps.Clone(*i.known.Load())
	found := instrument{
		count:    i.decisions.WithLabelValues(k.surface, k.outcome.String(), string(k.reason)),
		duration: i.durations.WithLabelValues(k.surface, k.outcome.String()),
	}
	known[k] = found
	i.known.Store(&known)
	return found
}
