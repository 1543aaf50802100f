package verify

import (
	"net/netip"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Freshness is how current the index is. The zero value is the least current.
type Freshness uint8

// Degrees of freshness.
const (
	// NotSynced means that the index has never been complete.
	NotSynced Freshness = iota
	// Stale means that the last proof of the index being current is too old.
	Stale
	// Contested means that another verifier has this one's name, so that the controller can wait for neither.
	Contested
	// Fresh means that the index is current to within the staleness bound.
	Fresh
)

// Decide decides a request from what the index holds at this moment. It allocates nothing for a request that is allowed
// by its route.
func Decide(view *index.View, request *Request, freshness Freshness, now time.Time) (d Decision) {
	if request.nominates() {
		d.set(Forbidden, ReasonHeaderNominated)
		return d
	}
	d.decide(view, request, freshness, now)
	d.finish(view, request, freshness)
	return d
}

// Identify decides whose key a token is, without a route. If a tenant is given, its own claim answers, as with Decide.
// If it is nil, index.Credentials.Lookup defines which claim answers. Allow means that the token is active and may be
// used from the client's address. An unknown address is allowed only if any address is.
func Identify(
	view *index.View, bearer string, tenantID *index.TenantID, client netip.Addr, freshness Freshness, now time.Time,
) (d Decision) {
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

// recognise takes the steps 2 and 3. It looks up the grant of a token, for a tenant or without one, and returns its
// terms. It returns nil if the token has no grant.
func (d *Decision) recognise(
	view *index.View, bearer string, tenantID *index.TenantID, freshness Freshness,
) *index.Terms {
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
		d.setUnavailable() // The token may have been minted since.
	default:
		d.set(Unauthorized, ReasonUnknownToken)
	}
	return terms
}

// checkKey takes the steps 4 and 5 for a key that was found.
func (d *Decision) checkKey(
	view *index.View, request *Request, terms *index.Terms, tenantID *index.TenantID, now time.Time,
) {
	if d.Grant.State == index.StateContested {
		d.set(Forbidden, ReasonWrongTenant) // Several tenants have the token, and the request names none of them.
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
	// The scopes must be granted in status and still be asked for in spec, each on its own (S6). Without the second
	// check, a scope that is removed from spec would work until the controller sees that.
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

// finish allows requests that need no key, and takes step 6.
func (d *Decision) finish(view *index.View, request *Request, freshness Freshness) {
	if d.Outcome != Allow && view.Routes().HasAnonymous() {
		if need, reason := requirement(view, request); reason == "" && need.Anonymous {
			*d = Decision{Outcome: Allow, Reason: ReasonAnonymous}
		}
	}
	d.requireFreshness(freshness)
}

// requireFreshness is step 6, which holds S7: an index that is out of date allows nothing.
func (d *Decision) requireFreshness(freshness Freshness) {
	if d.Outcome == Allow && freshness != Fresh {
		d.setUnavailable()
	}
}

// refusedByState is step 4. It returns why a key is refused whatever the request, or "".
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

// allowed reports whether an address is on every one of the lists.
func allowed(lists []index.Allowlist, client netip.Addr) bool {
	for i := range lists {
		if !lists[i].Allows(client) {
			return false
		}
	}
	return true
}

// requirement returns what the request needs, according to the proxy's configuration or to the route, or the reason why
// that is unknown.
func requirement(view *index.View, request *Request) (*access.Requirement, Reason) {
	if request.FixedScopes != nil {
		return access.Require(request.FixedScopes...), ""
	}
	path, ok := access.CanonicalPath(request.Target)
	if !ok {
		return nil, targetReasons[access.FlawOf(request.Target)]
	}
	if request.Host == "" {
		return nil, ReasonHostMissing
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

// targetReasons are the reasons for refusing a target, by its flaw.
var targetReasons = map[access.Flaw]Reason{
	access.FlawPath:   ReasonPathAmbiguous,
	access.FlawQuery:  ReasonQueryMalformed,
	access.FlawLength: ReasonTargetTooLong,
}
