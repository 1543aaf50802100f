package verify

import (
	"net/netip"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Freshness says how far the index can be trusted. The zero value is not at all.
type Freshness uint8

// Degrees of freshness.
const (
	// NotSynced says that the index has never been complete.
	NotSynced Freshness = iota
	// Stale says that the index was last known to be complete too long ago.
	Stale
	// Contested says that another verifier has this one's name, so that nobody can wait for either.
	Contested
	// Fresh says that the index holds all that was committed at most the staleness bound ago.
	Fresh
)

// Decide answers a request from what the index holds at this moment. It allocates nothing for a request that passes by its
// route.
func Decide(view *index.View, request *Request, freshness Freshness, now time.Time) (d Decision) {
	if request.nominates() {
		d.set(Forbidden, ReasonHeaderNominated)
		return d
	}
	d.decide(view, request, freshness, now)
	d.finish(view, request, freshness)
	return d
}

// Identify answers whose a token is, where no route is asked about. A tenant that is named gets its own claim's answer, as with
// Decide; nil is none, and index.Credentials.Lookup says who answers then. Allow says that the token is active, and that requests
// with it may come from the client's address; an address that isn't known is allowed only where any is.
func Identify(view *index.View, bearer string, tenantID *index.TenantID, client netip.Addr, freshness Freshness, now time.Time) (d Decision) {
	terms := d.recognise(view, bearer, tenantID, freshness)
	if terms == nil {
		return d
	}
	tenant, known := view.Tenant(d.Grant.Tenant)
	if reason := refusedByState(&d.Grant, &tenant, known, now); reason != "" {
		d.set(Unauthorized, reason)
		return d
	}
	if tenantID != nil && d.Grant.Tenant != *tenantID {
		d.set(Forbidden, ReasonWrongTenant)
		return d
	}
	if !allowed(tenant.Allowlists, client) || !allowed(terms.Allowlists[:], client) {
		d.set(Forbidden, ReasonAddressNotAllowed)
		return d
	}
	d.set(Allow, ReasonAllowed)
	d.TenantID = d.Grant.Tenant.String()
	d.requireFreshness(freshness)
	return d
}

// decide takes the steps 1 to 5.
func (d *Decision) decide(view *index.View, request *Request, freshness Freshness, now time.Time) {
	bearer, reason := request.bearer()
	if reason != "" {
		d.set(Unauthorized, reason)
		return
	}
	tenantID, reason := request.tenant()
	if reason != "" {
		d.set(Unauthorized, reason)
		return
	}
	if terms := d.recognise(view, bearer, &tenantID, freshness); terms != nil {
		d.checkKey(view, request, terms, &tenantID, now)
	}
	if d.Outcome == Allow {
		d.TenantID = tenantID.Spelled(request.TenantID[0])
	}
}

// recognise takes the steps 2 and 3. It finds the grant that a token stands for to a tenant, or where none is named, by itself,
// and returns its terms; nil, if it stands for none.
func (d *Decision) recognise(view *index.View, bearer string, tenantID *index.TenantID, freshness Freshness) *index.Terms {
	if !token.WellFormed(bearer) {
		d.set(Unauthorized, ReasonMalformedToken)
		return nil
	}
	if freshness == NotSynced {
		d.setUnavailable()
		return nil
	}
	digest := token.DigestOf(bearer)
	terms := view.Credentials.Lookup(&digest, tenantID, &d.Grant)
	switch {
	case terms != nil:
	case freshness != Fresh:
		d.setUnavailable() // It may have been minted since.
	default:
		d.set(Unauthorized, ReasonUnknownToken)
	}
	return terms
}

// checkKey takes the steps 4 and 5 for a key that is known.
func (d *Decision) checkKey(view *index.View, request *Request, terms *index.Terms, tenantID *index.TenantID, now time.Time) {
	if d.Grant.State == index.StateContested {
		d.set(Forbidden, ReasonWrongTenant) // Several have it, and none of them is the one that is named.
		return
	}
	tenant, known := view.Tenant(d.Grant.Tenant)
	if reason := refusedByState(&d.Grant, &tenant, known, now); reason != "" {
		d.set(Unauthorized, reason)
		return
	}
	if d.Grant.Tenant != *tenantID {
		d.set(Forbidden, ReasonWrongTenant)
		return
	}
	if !allowed(tenant.Allowlists, request.Client) || !allowed(terms.Allowlists[:], request.Client) {
		d.set(Forbidden, ReasonAddressNotAllowed)
		return
	}
	need, reason := requirement(view, request)
	if reason != "" {
		d.set(Forbidden, reason)
		return
	}
	// Granted by the controller and still asked for by whoever may edit the key, each on its own (S6): without the
	// second, a scope taken away in spec would work until the controller sees it.
	missing, ok := need.SatisfiedBy(terms.Granted)
	if ok {
		missing, ok = need.SatisfiedBy(terms.Asked)
	}
	if !ok {
		d.set(Forbidden, ReasonScopeMissing)
		d.MissingScope = missing
		return
	}
	d.set(Allow, ReasonAllowed)
}

// finish lets pass what needs no key, and takes step 6.
func (d *Decision) finish(view *index.View, request *Request, freshness Freshness) {
	if d.Outcome != Allow && view.Routes().HasAnonymous() {
		if need, reason := requirement(view, request); reason == "" && need.Anonymous {
			*d = Decision{Outcome: Allow, Reason: ReasonAnonymous}
		}
	}
	d.requireFreshness(freshness)
}

// requireFreshness is step 6, the bound of S7: without it, old knowledge lets requests pass.
func (d *Decision) requireFreshness(freshness Freshness) {
	if d.Outcome == Allow && freshness != Fresh {
		d.setUnavailable()
	}
}

// refusedByState is step 4. It says why a key is refused whoever asks and for whatever, or nothing.
func refusedByState(grant *index.Grant, tenant *index.Tenant, tenantKnown bool, now time.Time) Reason {
	switch grant.State {
	case index.StateActive:
	case index.StateSuspended:
		return ReasonSuspended
	case index.StateRevoked:
		return ReasonRevoked
	case index.StateDeleting:
		return ReasonDeleted
	case index.StateWithdrawn:
		return ReasonTenantChanged
	case index.StateContested:
		return ReasonTenantRequired
	default:
		return ReasonExpired
	}
	switch {
	case now.UnixNano() >= grant.NotAfter:
		return ReasonExpired
	case !tenantKnown:
		return ReasonTenantChanged
	case tenant.Suspended:
		return ReasonTenantSuspended
	}
	return ""
}

// allowed says whether requests may come from an address by every one of some lists.
func allowed(lists []index.Allowlist, client netip.Addr) bool {
	for i := range lists {
		if !lists[i].Allows(client) {
			return false
		}
	}
	return true
}

// requirement returns what the request needs, as the proxy's configuration or the route has it, or why there is no
// knowing.
func requirement(view *index.View, request *Request) (*access.Requirement, Reason) {
	if request.FixedScopes != nil {
		return access.Require(request.FixedScopes...), ""
	}
	path, ok := access.CanonicalPath(request.Target)
	if !ok {
		return nil, ReasonPathAmbiguous
	}
	host, ok := access.CanonicalHost(request.Host)
	if !ok {
		return nil, ReasonNoRoute
	}
	need, ok := view.Routes().Route(host, request.Method, path)
	if !ok {
		return nil, ReasonNoRoute
	}
	return need, ""
}
