package verify

import (
	"net/netip"
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
	return settle(view, request, freshness, decide(view, request, freshness, now))
}

// Identify answers whose a token is, where no tenant is named and no route asked about: the oldest claim answers. Allow says
// that the token is active, and that requests with it may come from the client's address; an address that isn't known is
// allowed only where any is.
func Identify(view *index.View, bearer string, client netip.Addr, freshness Freshness, now time.Time) Decision {
	grant, refusal := recognise(view, bearer, nil, freshness)
	if grant == nil {
		return refusal
	}
	tenant, known := view.Tenant(grant.Tenant)
	if reason := refusedByState(grant, tenant, known, now); reason != "" {
		return unauthorized(reason, grant)
	}
	if !allowed(tenant.Allowlists, client) || !allowed(grant.Allowlists[:], client) {
		return forbidden(ReasonAddressNotAllowed, grant)
	}
	return bounded(Decision{Outcome: Allow, Reason: ReasonAllowed, Grant: grant, TenantID: tenant.IDHeader}, freshness)
}

// decide takes the steps 1 to 5.
func decide(view *index.View, request *Request, freshness Freshness, now time.Time) Decision {
	bearer, reason := request.bearer()
	if reason != "" {
		return unauthorized(reason, nil)
	}
	tenantID, tenantReason := request.tenant()
	if tenantReason != "" {
		return unauthorized(tenantReason, nil)
	}
	grant, refusal := recognise(view, bearer, &tenantID, freshness)
	if grant == nil {
		return refusal
	}
	return judge(view, request, grant, tenantID, now)
}

// recognise takes the steps 2 and 3. It returns the grant that a token stands for to a tenant, or where none is named, to
// whoever claimed it first; or why it stands for none.
func recognise(view *index.View, bearer string, tenantID *index.TenantID, freshness Freshness) (*index.Grant, Decision) {
	if !token.WellFormed(bearer) {
		return nil, unauthorized(ReasonMalformedToken, nil)
	}
	if freshness == NotSynced {
		return nil, unavailable()
	}
	digest := token.DigestOf(bearer)
	grant := claimOf(view.Credentials.Lookup(&digest), tenantID)
	if grant != nil {
		return grant, Decision{}
	}
	if freshness != Fresh {
		return nil, unavailable() // It may have been minted since.
	}
	return nil, unauthorized(ReasonUnknownToken, nil)
}

// judge takes the steps 4 and 5 for a key that is known.
func judge(view *index.View, request *Request, grant *index.Grant, tenantID index.TenantID, now time.Time) Decision {
	tenant, known := view.Tenant(grant.Tenant)
	if reason := refusedByState(grant, tenant, known, now); reason != "" {
		return unauthorized(reason, grant)
	}
	if grant.Tenant != tenantID {
		return forbidden(ReasonWrongTenant, grant)
	}
	if !allowed(tenant.Allowlists, request.Client) || !allowed(grant.Allowlists[:], request.Client) {
		return forbidden(ReasonAddressNotAllowed, grant)
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
	return Decision{Outcome: Allow, Reason: ReasonAllowed, Grant: grant, TenantID: tenant.IDHeader}
}

// settle lets pass what needs no key, and takes step 6.
func settle(view *index.View, request *Request, freshness Freshness, decision Decision) Decision {
	if decision.Outcome != Allow && view.Routes().HasAnonymous() {
		if need, reason := requirement(view, request); reason == "" && need.Anonymous {
			decision = Decision{Outcome: Allow, Reason: ReasonAnonymous}
		}
	}
	return bounded(decision, freshness)
}

// bounded is step 6, the bound of S7: without it, old knowledge lets requests pass.
func bounded(decision Decision, freshness Freshness) Decision {
	if decision.Outcome == Allow && freshness != Fresh {
		return unavailable()
	}
	return decision
}

// claimOf returns the oldest claim of the tenant, or where it has none or isn't known, the oldest of all.
func claimOf(claims []*index.Grant, tenant *index.TenantID) *index.Grant {
	if tenant != nil {
		for _, claim := range claims {
			if claim.Tenant == *tenant {
				return claim
			}
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
