// Package check puts the pure decision to the live index and the clock, for every surface, and counts what comes out.
package check

import (
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// Source says how far the index can be trusted.
type Source interface {
	Freshness(now time.Time) verify.Freshness
	FreshAsOf() time.Time
}

// Decider decides requests from the live index.
type Decider struct {
	view      *index.View
	source    Source
	clock     func() time.Time
	decisions *prometheus.CounterVec
}

// New returns a decider and registers its metrics, none of which has a label that grows with keys or tenants.
func New(view *index.View, source Source, clock func() time.Time, registry prometheus.Registerer) *Decider {
	d := &Decider{
		view:   view,
		source: source,
		clock:  clock,
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apikey_verifier_decisions_total",
			Help: "Decisions, by the surface that asked, the outcome and the reason.",
		}, []string{"surface", "outcome", "reason"}),
	}
	registry.MustRegister(
		d.decisions,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apikey_verifier_index_credentials",
			Help: "Credentials in the index.",
		}, func() float64 { return float64(view.Credentials.Len()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apikey_verifier_index_tenants",
			Help: "Tenants in the index.",
		}, func() float64 { return float64(view.TenantCount()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apikey_verifier_fresh_as_of_timestamp_seconds",
			Help: "Time before which everything that was committed is known to have been applied; 0 before the first proof.",
		}, d.freshAsOf),
	)
	return d
}

// Decide answers a request of one of the surfaces.
func (d *Decider) Decide(surface string, request *verify.Request) verify.Decision {
	now := d.clock()
	return d.used(surface, verify.Decide(d.view, request, d.source.Freshness(now), now), now)
}

// Identify answers one of the surfaces whose a token is. The client's address is the zero address where it isn't known.
func (d *Decider) Identify(surface, bearer string, client netip.Addr) verify.Decision {
	now := d.clock()
	return d.used(surface, verify.Identify(d.view, bearer, client, d.source.Freshness(now), now), now)
}

// used notes that a key was used, where it was, and counts the decision.
func (d *Decider) used(surface string, decision verify.Decision, now time.Time) verify.Decision {
	if grant := decision.Grant; decision.Outcome == verify.Allow && grant != nil && grant.Meter != nil {
		grant.Meter.Used(now)
	}
	return d.count(surface, decision)
}

// Explain says what would become of a request with a credential, to a person: it is no decision, and isn't counted.
func (d *Decider) Explain(grant *index.Grant, request *verify.Request) verify.Explanation {
	now := d.clock()
	return verify.Explain(d.view, grant, request, d.source.Freshness(now), now)
}

// Find returns the credentials that are wanted, for a person.
func (d *Decider) Find(wanted func(*index.Grant) bool) []*index.Grant {
	return d.view.Credentials.Find(wanted)
}

// Refuse answers a request that a surface can't put to Decide, because the proxy did not say what it has to.
func (d *Decider) Refuse(surface string, reason verify.Reason) verify.Decision {
	return d.count(surface, verify.Decision{Outcome: verify.Forbidden, Reason: reason})
}

func (d *Decider) count(surface string, decision verify.Decision) verify.Decision {
	d.decisions.WithLabelValues(surface, decision.Outcome.String(), string(decision.Reason)).Inc()
	return decision
}

func (d *Decider) freshAsOf() float64 {
	if t := d.source.FreshAsOf(); !t.IsZero() {
		return float64(t.UnixNano()) / 1e9
	}
	return 0
}
