package verify

import (
	"github.com/nexuscommerce/apikey-operator/internal/access"
)

// Status returns the HTTP status of a decision. It is 200, 401 or 403 and no other, because most proxies turn any other
// into an error of their own. A request that could not be checked gets 403.
func (d Decision) Status() int {
	switch d.Outcome {
	case Allow:
		return 200
	case Unauthorized:
		return 401
	default:
		return 403
	}
}

// Challenge returns the value of the WWW-Authenticate header of a refusal, RFC 6750 section 3, or "" if it has none.
// The realm is the host, if that is valid.
func (d Decision) Challenge(host string) string {
	code := d.errorCode()
	if d.Outcome != Unauthorized && code == "" {
		return ""
	}
	realm, _ := access.CanonicalHost(host)
	// One concatenation each: a refusal must not cost more than an allowed request.
	switch {
	case code == "":
		return `Bearer realm="` + realm + `"`
	case d.MissingScope == "":
		return `Bearer realm="` + realm + `", error="` + code + `", error_description="` + d.Message() + `"`
	default:
		return `Bearer realm="` + realm + `", error="` + code + `", error_description="` + d.Message() +
			`", scope="` + d.MissingScope + `"`
	}
}

// Body returns the JSON body of a refusal. It names the reason and contains nothing of the request.
func (d Decision) Body() string {
	return bodies[d.publicReason()]
}

// errorCode returns the error code of RFC 6750 section 3.1. A request without credentials gets none.
func (d Decision) errorCode() string {
	switch d.Reason {
	case ReasonNoCredentials:
		return ""
	case ReasonDuplicateCredentials, ReasonTenantMissing, ReasonTenantMalformed:
		return "invalid_request"
	case ReasonScopeMissing:
		return "insufficient_scope"
	}
	if d.Outcome == Unauthorized {
		return "invalid_token"
	}
	return ""
}

const reasonInvalidToken Reason = "invalid_token"

// publicReason returns the reason as far as the caller may know it. What exactly is wrong with an unknown token would
// tell a guesser how close the guess was.
func (d Decision) publicReason() Reason {
	switch d.Reason {
	case ReasonMalformedToken, ReasonUnknownToken, ReasonTenantRequired:
		return reasonInvalidToken
	case "":
		return ReasonUnavailable // The zero Decision refuses.
	}
	return d.Reason
}

// Message explains a decision to people, as far as the caller may know it.
func (d Decision) Message() string { return messages[d.publicReason()] }

// messages must not contain quotes or backslashes, because they are put into JSON and quoted strings unescaped.
var messages = map[Reason]string{ //nolint:gosec // No credentials, but about them.
	ReasonAllowed:              "The request may pass.",
	ReasonAnonymous:            "The route needs no API key.",
	ReasonNoCredentials:        "Send the API key as Authorization: Bearer <key>.",
	ReasonDuplicateCredentials: "Send exactly one Authorization header with one API key.",
	ReasonTenantMissing:        "Send the tenant ID in the X-Tenant-ID header.",
	ReasonTenantMalformed:      "Send exactly one X-Tenant-ID header with one UUID.",
	reasonInvalidToken:         "The API key is not valid.",
	ReasonRevoked:              "The API key has been revoked.",
	ReasonSuspended:            "The API key is suspended.",
	ReasonExpired:              "The API key has expired.",
	ReasonDeleted:              "The API key has been deleted.",
	ReasonTenantSuspended:      "The tenant is suspended.",
	ReasonTenantChanged:        "The API key no longer belongs to its tenant.",
	ReasonWrongTenant:          "The API key belongs to another tenant than the one that the request names.",
	ReasonAddressNotAllowed:    "The API key may not be used from this address.",
	ReasonPathAmbiguous: "The path can be read in more than one way: " +
		"send it without dot segments, empty segments or encoded separators.",
	ReasonQueryMalformed: "The query must be percent-encoded: " +
		"it has a space, a control character, a # or bytes that are not UTF-8.",
	ReasonTargetTooLong:   "Path and query are longer than 8192 bytes together.",
	ReasonHostMissing:     "The request names no host.",
	ReasonNoRoute:         "No access policy declares this route.",
	ReasonScopeMissing:    "The API key lacks a scope that this route needs.",
	ReasonHeaderNominated: "Connection must not name Authorization, X-Tenant-ID or any X-Api-Key header.",
	ReasonMisconfigured:   "The proxy did not say which request this is about: see the guide for its dialect.",
	ReasonUnavailable:     "The API key could not be checked. Try again later.",
}

var bodies = func() map[Reason]string {
	all := make(map[Reason]string, len(messages))
	for reason, message := range messages {
		all[reason] = `{"reason":"` + string(reason) + `","message":"` + message + `"}` + "\n"
	}
	return all
}()
