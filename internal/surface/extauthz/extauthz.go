// Package extauthz answers Envoy's external authorization filter, and the Gateway API's filter based on it: over HTTP,
// where the proxy sends the client's own method, host and path, and over gRPC, where it sends them in a message.
//
//	┌───────┐ any method, /ext-authz/api/products?limit=10 ┌──────────┐
//	│       ├─────────────────────────────────────────────▶│   HTTP   │ verify.Request ┌────────┐
//	│ Envoy │ Check(CheckRequest)                          ├──────────┼───────────────▶│ verify │
//	│       ├─────────────────────────────────────────────▶│   GRPC   │    Decision    │        │
//	│       │◀─────────────────────────────────────────────┤          │◀───────────────┤        │
//	└───────┘ 200, 401 or 403; CheckResponse               └──────────┘                └────────┘
//
// Envoy can be configured to let requests pass if the check fails (failure_mode_allow). So an unreadable request gets a
// denial, and never an error.
package extauthz

import (
	"slices"
	"strings"

	"github.com/nexuscommerce/apikey-operator/internal/authresponse"
	"github.com/nexuscommerce/apikey-operator/internal/override"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// Decider decides whether a request may pass.
type Decider interface {
	Decide(surface string, request *verify.Request) verify.Decision
	// Refuse decides about a request that the proxy did not describe.
	Refuse(surface string, reason verify.Reason) verify.Decision
}

// aliases are header names that an upstream could take for one that the verifier has checked or set, because many read
// an underscore as a hyphen.
var aliases = func() (all []string) {
	for _, name := range identityNames {
		all = append(all, override.Spellings(name)...)
	}
	return append(all, override.Spellings("x-tenant-id")...)
}()

// identityNames are the names of the identity headers, in lower case.
var identityNames = func() (names [4]string) {
	for i, header := range authresponse.Identity(verify.Decision{}) {
		names[i] = strings.ToLower(header.Name)
	}
	return names
}()

// alwaysRemoved returns the names of the headers that the upstream must not get from any client: the token, unless it
// is to be kept, headers that override parts of the request, and aliases. Envoy removes headers after it has set
// others, so identity headers with a value are not among them. Headers that Envoy itself writes when it forwards the
// request, such as X-Forwarded-Host for a route that appends it, come later and stay.
func alwaysRemoved(keepToken bool) []string {
	all := slices.Concat(override.Names(), aliases, override.Aliases())
	if keepToken {
		return all
	}
	return append([]string{"authorization"}, all...)
}
