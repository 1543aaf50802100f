package verify

import (
	"net/netip"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// Request is what a proxy sends about a request. Header values are as they were received, one element per field line.
type Request struct {
	// Authorization are the values of the Authorization header.
	Authorization []string
	// TenantID are the values of the X-Tenant-ID header.
	TenantID []string
	// Connection are the values of the Connection header, if the proxy passed on the client's.
	Connection []string

	// Traceparent are the values of the traceparent header (W3C Trace Context). No decision depends on it.
	Traceparent []string

	// Host is the authority that the client asked for, with or without a port.
	Host string
	// Method is the client's HTTP method.
	Method string
	// Target is the path and query that the client asked for, not decoded.
	Target string
	// Client is the address that the request came from, or the zero address where it isn't known.
	Client netip.Addr

	// FixedScopes are the scopes that the proxy's own configuration requires. If not nil, they replace the look-up of the
	// route, and Host, Method and Target are ignored.
	FixedScopes []keysv1alpha1.Scope
}

// bearer returns the one bearer token of a request, RFC 6750 section 2.1, or the reason why there is none.
func (r *Request) bearer() (token string, reason Reason) {
	switch len(r.Authorization) {
	case 0:
		return "", ReasonNoCredentials
	case 1:
	default:
		return "", ReasonDuplicateCredentials
	}
	value := r.Authorization[0]
	if strings.IndexByte(value, ',') >= 0 {
		return "", ReasonDuplicateCredentials
	}
	if len(value) > 7 && value[:7] == "Bearer " && value[7] != ' ' {
		return value[7:], "" // Nearly all clients write it this way.
	}
	const scheme = "bearer"
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", ReasonNoCredentials
	}
	token = strings.TrimLeft(value[len(scheme):], " ")
	if len(token) == len(value)-len(scheme) && token != "" {
		return "", ReasonNoCredentials // Another scheme, whose name begins with this one.
	}
	return token, ""
}

// tenant returns the one tenant of a request, or the reason why there is none.
func (r *Request) tenant() (id index.TenantID, reason Reason) {
	switch len(r.TenantID) {
	case 0:
		return id, ReasonTenantMissing
	case 1:
	default:
		return id, ReasonTenantMalformed
	}
	if r.TenantID[0] == "" {
		return id, ReasonTenantMissing
	}
	id, ok := index.ParseTenantID(r.TenantID[0])
	if !ok {
		return id, ReasonTenantMalformed
	}
	return id, ""
}

// identityPrefix is what the names of all headers that identify the key to the upstream begin with, in lower case.
const identityPrefix = "x-api-key-"

// nominates reports whether Connection names a header that the decision depends on. The next proxy would remove that
// header (RFC 9110 section 7.6.1), and the upstream would get another request than the one that was decided (S10).
func (r *Request) nominates() bool {
	for _, rest := range r.Connection {
		for more := true; more; {
			var name string
			name, rest, more = strings.Cut(rest, ",")
			name = strings.Trim(name, " \t")
			if strings.EqualFold(name, "Authorization") || strings.EqualFold(name, "X-Tenant-ID") ||
				len(name) >= len(identityPrefix) && strings.EqualFold(name[:len(identityPrefix)], identityPrefix) {
				return true
			}
		}
	}
	return false
}
