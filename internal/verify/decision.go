package verify

import (
	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// Outcome is the result of a decision.
type Outcome uint8

// Outcomes of a decision. The zero value refuses.
const (
	// Unavailable means that the request could not be checked.
	Unavailable Outcome = iota
	// Unauthorized means that the credentials do not identify an active key.
	Unauthorized
	// Forbidden means that the key may not do this.
	Forbidden
	// Allow means that the request is allowed.
	Allow
)

// String returns the outcome as metrics name it.
func (o Outcome) String() string {
	return [...]string{"unavailable", "unauthorized", "forbidden", "allow"}[o]
}

// Reason is why a decision has its outcome. It is part of the answer's body and of the metrics.
type Reason string

// Reasons of decisions.
const (
	ReasonAllowed   Reason = "allowed"
	ReasonAnonymous Reason = "anonymous"

	ReasonNoCredentials        Reason = "no_credentials"
	ReasonDuplicateCredentials Reason = "duplicate_credentials"
	ReasonTenantMissing        Reason = "tenant_missing"
	ReasonTenantMalformed      Reason = "tenant_malformed"
	// ReasonTenantRequired means that several tenants have registered the token, which was minted for none of them, and
	// that the request names no tenant.
	ReasonTenantRequired Reason = "tenant_required"
	// ReasonMalformedToken and ReasonUnknownToken differ in metrics only: a caller gets the same answer for both.
	ReasonMalformedToken  Reason = "malformed_token"
	ReasonUnknownToken    Reason = "unknown_token"
	ReasonRevoked         Reason = "revoked"
	ReasonSuspended       Reason = "suspended"
	ReasonExpired         Reason = "expired"
	ReasonDeleted         Reason = "deleted"
	ReasonTenantSuspended Reason = "tenant_suspended"
	ReasonTenantChanged   Reason = "tenant_changed"

	ReasonWrongTenant       Reason = "wrong_tenant"
	ReasonAddressNotAllowed Reason = "address_not_allowed"
	ReasonPathAmbiguous     Reason = "path_ambiguous"
	// ReasonQueryMalformed means that parsers may disagree about where the query ends.
	ReasonQueryMalformed Reason = "query_malformed"
	// ReasonTargetTooLong means that path and query together are longer than the verifier reads.
	ReasonTargetTooLong Reason = "target_too_long"
	// ReasonHostMissing means that the client named no host, as HTTP/1.0 allows, or that the proxy did not send it.
	ReasonHostMissing  Reason = "host_missing"
	ReasonNoRoute      Reason = "route_not_declared"
	ReasonScopeMissing Reason = "insufficient_scope"
	// ReasonHeaderNominated means that Connection names a header that the decision depends on, or that the answer sets.
	ReasonHeaderNominated Reason = "header_nominated"
	// ReasonMisconfigured means that the proxy did not send everything about the request that its dialect requires.
	ReasonMisconfigured Reason = "proxy_misconfigured"

	ReasonUnavailable Reason = "unavailable"
)

// Decision is the answer to a Request.
type Decision struct {
	Outcome Outcome
	Reason  Reason
	// Grant is the key's, once the key is identified. Before that, and for anonymous routes, it is the zero value.
	Grant index.Grant
	// TenantID is the key's tenant as text, if Outcome is Allow and Grant is known.
	TenantID string
	// MissingScope are the scopes that the route needs and the key lacks, separated by spaces, if Reason is
	// ReasonScopeMissing.
	MissingScope string
}

func (d *Decision) set(outcome Outcome, reason Reason) { d.Outcome, d.Reason = outcome, reason }

// setUnavailable makes the decision Unavailable. It reveals nothing about a key.
func (d *Decision) setUnavailable() { *d = Decision{Outcome: Unavailable, Reason: ReasonUnavailable} }
