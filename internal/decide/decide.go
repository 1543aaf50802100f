// Package decide decides requests for all surfaces. It calls the pure decision of internal/verify with the live index
// and the current time, and reports the result: to metrics, the usage slot of the credential, the audit log and traces.
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

// Source reports how current the index is.
type Source interface {
	Freshness(now time.Time) verify.Freshness
	FreshAsOf() time.Time
}

// Uses records when credentials were used.
type Uses interface {
	// Used neither waits nor allocates.
	Used(slot index.UsageSlot, now time.Time)
}

// Options configure a Decider.
type Options struct {
	View   *index.View
	Source Source
	// Clock returns the current time.
	Clock    func() time.Time
	Registry prometheus.Registerer
	// Uses is optional. It records each use of a credential.
	Uses Uses
	// Audit is optional. Every decision is passed to it.
	Audit *audit.Log
	// Tracer is optional. Every decision becomes a span.
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

// New returns a decider and registers its metrics, none of which has a label that grows with keys or tenants.
func New(options Options) *Decider {
	d := &Decider{
		view: options.View, source: options.Source, clock: options.Clock, instruments: newInstruments(options.Registry),
		uses: options.Uses, audit: options.Audit, tracer: options.Tracer,
	}
	options.Registry.MustRegister(
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

// Decide decides a request that a surface has received.
func (d *Decider) Decide(surface string, request *verify.Request) verify.Decision {
	now := d.clock()
	return d.report(now, surface, request, verify.Decide(d.view, request, d.source.Freshness(now), now))
}

// Identify decides whose key a token is, for a surface: within a tenant, or among all if the tenant is nil. The
// client's address is the zero address if it isn't known.
func (d *Decider) Identify(surface, bearer string, tenant *index.TenantID, client netip.Addr) verify.Decision {
	now := d.clock()
	decision := verify.Identify(d.view, bearer, tenant, client, d.source.Freshness(now), now)
	return d.report(now, surface, &verify.Request{Client: client}, decision)
}

// Explain explains to a person how a request with a credential would be decided. It is not counted as a decision.
func (d *Decider) Explain(claim *index.Claim, request *verify.Request) verify.Explanation {
	now := d.clock()
	return verify.Explain(d.view, claim, request, d.source.Freshness(now), now)
}

// Find returns the credentials for which wanted is true. It scans the whole index, so it is for people, not for
// requests.
func (d *Decider) Find(wanted func(*index.Claim) bool) []*index.Claim {
	return d.view.Credentials.Find(wanted)
}

// Refuse refuses a request for which a surface can't call Decide, because the proxy did not send what it has to.
func (d *Decider) Refuse(surface string, reason verify.Reason) verify.Decision {
	return d.report(d.clock(), surface, &verify.Request{}, verify.Decision{Outcome: verify.Forbidden, Reason: reason})
}

// report passes a decision to metrics, usage, audit log and tracer, and returns it.
func (d *Decider) report(
	begun time.Time, surface string, request *verify.Request, decision verify.Decision,
) verify.Decision {
	if decision.Outcome == verify.Allow && decision.Grant.UsageSlot != 0 && d.uses != nil {
		d.uses.Used(decision.Grant.UsageSlot, begun)
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
