package verify

import (
	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// Outcome is what a decision comes to.
type Outcome uint8

// Outcomes of a decision. The zero value refuses.
const (
	// Unavailable says that the request could not be checked.
	Unavailable Outcome = iota
	// Unauthorized says that the credentials do not identify an active key.
	Unauthorized
	// Forbidden says that the key may not do this.
	Forbidden
	// Allow says that the request may pass.
	Allow
)

// String returns the outcome as it is written in metrics.
func (o Outcome) String() string {
	return [...]string{"unavailable", "unauthorized", "forbidden", "allow"}[o]
}

// Reason says why a decision came out as it did. It is part of the answer's body and of the metrics.
type Reason string

// Reasons of decisions.
const (
	ReasonAllowed   Reason = "allowed"
	ReasonAnonymous Reason = "anonymous"

	ReasonNoCredentials        Reason = "no_credentials"
	ReasonDuplicateCredentials Reason = "duplicate_credentials"
	ReasonTenantMissing        Reason = "tenant_missing"
	ReasonTenantMalformed      Reason = "tenant_malformed"
	// ReasonTenantRequired says that several tenants have registered the token, which was minted for none of them, and that the
	// question names no tenant.
	ReasonTenantRequired Reason = "tenant_required"
	// ReasonMalformedToken and ReasonUnknownToken are told apart in metrics only: a caller learns the same from both.
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
	ReasonNoRoute           Reason = "route_not_declared"
	ReasonScopeMissing      Reason = "insufficient_scope"
	// ReasonHeaderNominated says that Connection names a header that the decision rests on, or that the answer sets.
	ReasonHeaderNominated Reason = "header_nominated"
	// ReasonMisconfigured says that the proxy did not send what its dialect must say about the request.
	ReasonMisconfigured Reason = "proxy_misconfigured"

	ReasonUnavailable Reason = "unavailable"
)

// Decision is the answer to a Request.
type Decision struct {
	Outcome Outcome
	Reason  Reason
	// Grant is the key's, once it is identified; not known before, and for anonymous routes.
	Grant index.Grant
	// TenantID is the key's tenant as text, where Outcome is Allow and Grant is known.
	TenantID string
	// MissingScope is what the route needs and the key lacks, space-separated, where Reason is ReasonScopeMissing.
	MissingScope string
}

func (d *Decision) set(outcome Outcome, reason Reason) { d.Outcome, d.Reason = outcome, reason }

// setUnavailable makes a decision one that could not be made. It tells nothing of a key.
func (d *Decision) setUnavailable() { *d = Decision{Outcome: Unavailable, Reason: ReasonUnavailable} }
