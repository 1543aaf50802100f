package verify

import (
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
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
	// Fresh says that the index holds all that was committed at most the staleness bound ago.
	Fresh
)

// Decide answers a request from what the index holds at this moment. It allocates nothing for a request that passes by its
// route.
func Decide(view *index.View, request *Request, freshness Freshness, now time.Time) Decision {
	if request.nominates() {
		return forbidden(ReasonHeaderNominated, nil)
	}
	decision := identify(view, request, freshness, now)
	if decision.Outcome == Allow {
		decision = authorize(view, request, decision)
	}
	if decision.Outcome != Allow && view.Routes().HasAnonymous() {
		if need, reason := requirement(view, request); reason == "" && need.Anonymous {
			decision = Decision{Outcome: Allow, Reason: ReasonAnonymous}
		}
	}
	// The bound of S7: without these lines, old knowledge lets requests pass.
	if decision.Outcome == Allow && freshness != Fresh {
		return unavailable()
	}
	return decision
}

// identify takes the steps 1 to 4, which need to know nothing but who is asking, and the tenant's part of 5.
func identify(view *index.View, request *Request, freshness Freshness, now time.Time) Decision {
	bearer, reason := request.bearer()
	if reason != "" {
		return unauthorized(reason, nil)
	}
	tenantID, tenantReason := request.tenant()
	if tenantReason != "" {
		return unauthorized(tenantReason, nil)
	}
	if !token.WellFormed(bearer) {
		return unauthorized(ReasonMalformedToken, nil)
	}
	if freshness == NotSynced {
		return unavailable()
	}
	digest := token.DigestOf(bearer)
	grant := claimOf(view.Credentials.Lookup(&digest), tenantID)
	if grant == nil {
		if freshness != Fresh {
			return unavailable() // It may have been minted since.
		}
		return unauthorized(ReasonUnknownToken, nil)
	}
	tenant, known := view.Tenant(grant.Tenant)
	if reason := refusedByState(grant, tenant, known, now); reason != "" {
		return unauthorized(reason, grant)
	}
	if grant.Tenant != tenantID {
		return forbidden(ReasonWrongTenant, grant)
	}
	for _, list := range tenant.Allowlists {
		if !list.Allows(request.Client) {
			return forbidden(ReasonAddressNotAllowed, grant)
		}
	}
	return Decision{Outcome: Allow, Reason: ReasonAllowed, Grant: grant, TenantID: tenant.IDHeader}
}

// claimOf returns the oldest claim of the tenant, or where it has none, the oldest of all.
func claimOf(claims []*index.Grant, tenant index.TenantID) *index.Grant {
	for _, claim := range claims {
		if claim.Tenant == tenant {
			return claim
		}
	}
	if len(claims) == 0 {
		return nil
	}
	return claims[0]
}

// refusedByState is step 4. It says why a key is refused whoever asks and for whatever, or nothing.
func refusedByState(grant *index.Grant, tenant index.Tenant, tenantKnown bool, now time.Time) Reason {
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

// authorize takes what is left of step 5 once the key is identified: the address, the route and the scopes.
func authorize(view *index.View, request *Request, identified Decision) Decision {
	grant := identified.Grant
	for _, list := range grant.Allowlists {
		if !list.Allows(request.Client) {
			return forbidden(ReasonAddressNotAllowed, grant)
		}
	}
	need, reason := requirement(view, request)
	if reason != "" {
		return forbidden(reason, grant)
	}
	// Granted by the controller and still asked for by whoever may edit the key, each on its own (S6): without the
	// second, a scope taken away in spec would work until the controller sees it.
	for _, scopes := range [...][]keysv1alpha1.Scope{grant.Granted, grant.Asked} {
		if missing, ok := need.SatisfiedBy(scopes); !ok {
			decision := forbidden(ReasonScopeMissing, grant)
			decision.MissingScope = missing
			return decision
		}
	}
	return identified
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
