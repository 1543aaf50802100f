// Package decide puts the pure decision to the live index and the clock, for every surface, and tells those who want to
// know what comes out: metrics, the meter of the credential that was used, the audit log, traces.
package decide

import (
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nexuscommerce/apikey-operator/internal/audit"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/tracing"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// Source says how far the index can be trusted.
type Source interface {
	Freshness(now time.Time) verify.Freshness
	FreshAsOf() time.Time
}

// Uses notes when credentials were used.
type Uses interface {
	// Used neither waits nor allocates.
	Used(meter index.Meter, now time.Time)
}

// Options are what a Decider works with.
type Options struct {
	// View is the live index, and Source says how far it can be trusted.
	View   *index.View
	Source Source
	// Clock returns the time.
	Clock func() time.Time
	// Registry gets the metrics. None has a label whose values grow with keys or tenants.
	Registry prometheus.Registerer

	// Uses records when credentials were used, Audit writes each decision to a log, and Tracer makes it a span. Each may be
	// nil.
	Uses   Uses
	Audit  *audit.Log
	Tracer *tracing.Tracer
}

// Decider decides requests from the live index.
type Decider struct {
	view        *index.View
	source      Source
	clock       func() time.Time
	instruments *instruments
	uses        Uses
	audit       *audit.Log
	tracer      *tracing.Tracer
}

// New returns a decider and registers its metrics.
func New(o Options) *Decider {
	d := &Decider{
		view: o.View, source: o.Source, clock: o.Clock, instruments: newInstruments(o.Registry),
		uses: o.Uses, audit: o.Audit, tracer: o.Tracer,
	}
	o.Registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apikey_verifier_index_credentials",
			Help: "Credentials in the index.",
		}, func() float64 { return float64(d.view.Credentials.Len()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apikey_verifier_index_tenants",
			Help: "Tenants in the index.",
		}, func() float64 { return float64(d.view.TenantCount()) }),
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
	return d.conclude(now, surface, request, verify.Decide(d.view, request, d.source.Freshness(now), now))
}

// Identify answers one of the surfaces whose a token is: to a tenant, or where that is nil, to who names none. The client's address
// is the zero address where it isn't known.
func (d *Decider) Identify(surface, bearer string, tenant *index.TenantID, client netip.Addr) verify.Decision {
	now := d.clock()
	decision := verify.Identify(d.view, bearer, tenant, client, d.source.Freshness(now), now)
	return d.conclude(now, surface, &verify.Request{Client: client}, decision)
}

// Explain says what would become of a request with a credential, to a person: it is no decision, and isn't counted.
func (d *Decider) Explain(claim *index.Claim, request *verify.Request) verify.Explanation {
	now := d.clock()
	return verify.Explain(d.view, claim, request, d.source.Freshness(now), now)
}

// Find returns the credentials that are wanted, for a person.
func (d *Decider) Find(wanted func(*index.Claim) bool) []*index.Claim {
	return d.view.Credentials.Find(wanted)
}

// Refuse answers a request that a surface can't put to Decide, because the proxy did not say what it has to.
func (d *Decider) Refuse(surface string, reason verify.Reason) verify.Decision {
	return d.conclude(d.clock(), surface, &verify.Request{}, verify.Decision{Outcome: verify.Forbidden, Reason: reason})
}

// conclude tells of a decision that was begun at a time.
func (d *Decider) conclude(begun time.Time, surface string, request *verify.Request, decision verify.Decision) verify.Decision {
	if decision.Outcome == verify.Allow && decision.Grant.Meter != 0 && d.uses != nil {
		d.uses.Used(decision.Grant.Meter, begun)
	}
	ended := d.clock()
	d.instruments.observe(kind{surface, decision.Outcome, decision.Reason}, ended.Sub(begun))
	if d.audit != nil {
		d.audit.Record(begun, surface, request, decision)
	}
	if d.tracer != nil {
		d.tracer.Record(begun, ended, surface, request, decision)
	}
	return decision
}

func (d *Decider) freshAsOf() float64 {
	if t := d.source.FreshAsOf(); !t.IsZero() {
		return float64(t.UnixNano()) / 1e9
	}
	return 0
}
