package usage

import "github.com/prometheus/client_golang/prometheus"

type recorderMetrics struct {
	writes *prometheus.CounterVec
}

func newMetrics(r *Recorder, registry prometheus.Registerer) *recorderMetrics {
	m := &recorderMetrics{writes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "apikey_verifier_usage_writes_total",
		Help: "Writes of when keys were last used, by result.",
	}, []string{"result"})}
	for _, result := range []string{resultWritten, resultConflict, resultGone, resultRefused, resultFailed} {
		m.writes.WithLabelValues(result)
	}
	gauge := func(name, help string, value func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			r.mu.Lock()
			defer r.mu.Unlock()
			return value()
		})
	}
	registry.MustRegister(
		m.writes,
		gauge("apikey_verifier_usage_pending", "ApiKeys whose last use waits to be written.",
			func() float64 { return float64(r.queue.len()) }),
		gauge("apikey_verifier_usage_oldest_pending_seconds", "Age of the oldest pending write; 0 if none is pending.",
			func() float64 {
				if oldest := r.queue.waitingSince(); !oldest.IsZero() {
					return max(r.options.Clock().Sub(oldest).Seconds(), 0)
				}
				return 0
			}),
		gauge("apikey_verifier_usage_write_budget",
			"This replica's share of the write budget, in writes per second.", r.share),
	)
	return m
}
