package verify

import (
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// Step is one check of a decision, for people.
type Step struct {
	Check Check
	// Reason is why the check refuses the request. It is blank if the check passes.
	Reason Reason
	// Missing are the needed scopes that the checked list lacks. If any one of several would do, it holds all of them.
	Missing []keysv1alpha1.Scope
	// Contested reports whether freshness is refused because another verifier has this one's name.
	Contested bool
}

// Check names what a step checks.
type Check string

// Checks of a decision, in their order.
const (
	// CheckClaim is whether the key's claim of its digest counts for its tenant. It doesn't if an older object of the
	// tenant holds the digest, or if the token was minted for a key, of any tenant, that is revoked.
	CheckClaim Check = "claim"
	// CheckState is the state of the key and of its tenant, and the clock.
	CheckState Check = "state"
	// CheckTenant is whether the request names the key's tenant.
	CheckTenant Check = "tenant"
	// CheckTenantAddress, CheckGrantedAddress and CheckAskedAddress are the allowlists of the tenant, of the key's status
	// and of its spec.
	CheckTenantAddress  Check = "tenantAllowedCIDRs"
	CheckGrantedAddress Check = "statusAllowedCIDRs"
	CheckAskedAddress   Check = "specAllowedCIDRs"
	// CheckRoute is whether there is a rule for the request.
	CheckRoute Check = "route"
	// CheckGrantedScopes and CheckAskedScopes are the scopes of the key's status and of its spec.
	CheckGrantedScopes Check = "statusScopes"
	CheckAskedScopes   Check = "specScopes"
	// CheckFreshness is whether the index is up to date.
	CheckFreshness Check = "freshness"
)

// Explanation is how a request with a key would be decided, and why.
type Explanation struct {
	// Decision is what a proxy would get.
	Decision Decision
	// Steps are all checks, including those after the first that refuses.
	Steps []Step
	// Need is what the route needs, or nil if there is no route.
	Need *access.Requirement
}

// Explain returns how a request with a credential would be decided, without its token. It ignores Authorization and
// Connection of the request. If the request names no tenant, it uses the key's own.
func Explain(view *index.View, claim *index.Claim, request *Request, freshness Freshness, now time.Time) Explanation {
	tenantID, reason := claim.Tenant, Reason("")
	if len(request.TenantID) > 0 {
		tenantID, reason = request.tenant()
	}
	var e Explanation
	switch terms := view.Credentials.Lookup(&claim.Digest, &tenantID, &e.Decision.Grant); {
	case reason != "":
		e.Decision = Decision{Outcome: Unauthorized, Reason: reason}
	case terms == nil: // The claim has just been removed from the index.
		e.Decision.set(Unauthorized, ReasonUnknownToken)
	default:
		e.Decision.checkKey(view, request, terms, &tenantID, now)
	}
	if e.Decision.Outcome == Allow {
		e.Decision.TenantID = tenantID.String()
	}
	e.Decision.finish(view, request, freshness)

	if reason == "" && claim.Tenant != tenantID {
		reason = ReasonWrongTenant
	}
	tenant, known := view.Tenant(claim.Tenant)
	need, noRoute := requirement(view, request)
	e.Need = need
	e.Steps = []Step{
		{Check: CheckClaim, Reason: claimReason(view, claim)},
		{Check: CheckState, Reason: refusedByState(&claim.Grant, &tenant, known, now)},
		{Check: CheckTenant, Reason: reason},
		{Check: CheckTenantAddress, Reason: addressReason(tenant.Allowlists, request)},
		{Check: CheckGrantedAddress, Reason: addressReason(claim.Allowlists[:1], request)},
		{Check: CheckAskedAddress, Reason: addressReason(claim.Allowlists[1:], request)},
		{Check: CheckRoute, Reason: noRoute},
	}
	if need != nil {
		e.Steps = append(e.Steps,
			scopeStep(CheckGrantedScopes, need, claim.Granted),
			scopeStep(CheckAskedScopes, need, claim.Asked))
	}
	fresh := Step{Check: CheckFreshness, Contested: freshness == Contested}
	if freshness != Fresh {
		fresh.Reason = ReasonUnavailable
	}
	e.Steps = append(e.Steps, fresh)
	return e
}

// claimReason returns why a key's claim of its digest does not count, or "" if it does.
func claimReason(view *index.View, claim *index.Claim) Reason {
	var held index.Grant
	switch {
	case view.Credentials.Lookup(&claim.Digest, &claim.Tenant, &held) == nil, held.Name != claim.Name:
		return ReasonUnknownToken
	case held.State == index.StateRevoked && claim.State != index.StateRevoked:
		return ReasonRevoked
	}
	return ""
}

func addressReason(lists []index.Allowlist, request *Request) Reason {
	if allowed(lists, request.Client) {
		return ""
	}
	return ReasonAddressNotAllowed
}

func scopeStep(check Check, need *access.Requirement, scopes []keysv1alpha1.Scope) Step {
	step := Step{Check: check}
	if _, ok := need.SatisfiedBy(scopes); ok {
		return step
	}
	step.Reason = ReasonScopeMissing
	for _, scope := range need.Scopes {
		if !access.CoveredBy(scopes, scope) {
			step.Missing = append(step.Missing, scope)
		}
	}
	for _, scope := range need.AnyOf {
		if access.CoveredBy(scopes, scope) {
			return step
		}
	}
	step.Missing = append(step.Missing, need.AnyOf...)
	return step
}
