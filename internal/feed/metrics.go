package feed

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"
)

// instruments are the feed's metrics. None has a label that grows with keys, tenants or replicas.
type instruments struct {
	divergence, reconnects prometheus.Counter
	audits                 *prometheus.CounterVec
}

func newInstruments(f *Feed) *instruments {
	m := &instruments{
		divergence: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "apikey_verifier_divergence_total",
			Help: "Keys for which the index differed from a full list. It must stay 0: more means that a watch lost an event.",
		}),
		audits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apikey_verifier_divergence_checks_total",
			Help: "Comparisons of the index with a full list, by result.",
		}, []string{"result"}),
		reconnects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "apikey_verifier_reconnects_total",
			Help: "Times that all connections to the API server were given up, " +
				"because freshness could not be proved over them.",
		}),
	}
	m.audits.WithLabelValues("complete")
	m.audits.WithLabelValues("incomplete")
	if f.options.Registry == nil {
		return m
	}
	f.options.Registry.MustRegister(m.divergence, m.audits, m.reconnects,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apikey_verifier_staleness_seconds",
			Help: "Time since the index was last known to be up to date, by the clock that shows more; " +
				"+Inf before the first proof.",
		}, f.staleness),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apikey_verifier_max_staleness_seconds",
			Help: "The bound of apikey_verifier_staleness_seconds, beyond which every request is refused.",
		}, f.options.MaxStaleness.Seconds),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apikey_verifier_restore_detected",
			Help: "1 if the API server has shown an older state than before: etcd was restored, " +
				"and everything is refused until the verifier is started again.",
		}, f.restored),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apikey_verifier_name_contested",
			Help: "1 if another verifier has this one's name: everything is refused until it has stopped.",
		}, f.nameContested),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "apikey_verifier_probes_total",
			Help: "Nonces that this verifier has written.",
		}, func() float64 { return float64(f.prober.written.Load()) }),
	)
	return m
}

func (f *Feed) staleness() float64 {
	asOf := f.FreshAsOf()
	if asOf.IsZero() {
		return math.Inf(1)
	}
	return age(asOf, f.options.Clock()).Seconds()
}

func (f *Feed) nameContested() float64 {
	if until := f.freshness.contested.Load(); until != nil && f.options.Clock().Before(*until) {
		return 1
	}
	return 0
}

func (f *Feed) restored() float64 {
	if f.freshness.rolledBack.Load() {
		return 1
	}
	return 0
}
