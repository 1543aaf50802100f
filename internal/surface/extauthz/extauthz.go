// Package extauthz answers Envoy's external authorization filter, and what the Gateway API has made of it: by HTTP, where the
// proxy asks with the client's own method, host and path, and by gRPC, where it puts them into a message.
//
//	┌───────┐ any method, /ext-authz/api/products?limit=10 ┌──────────┐
//	│       ├─────────────────────────────────────────────▶│   HTTP   │ verify.Request ┌────────┐
//	│ Envoy │ Check(CheckRequest)                          ├──────────┼───────────────▶│ verify │
//	│       ├─────────────────────────────────────────────▶│   GRPC   │    Decision    │        │
//	│       │◀─────────────────────────────────────────────┤          │◀───────────────┤        │
//	└───────┘ 200, 401 or 403; CheckResponse               └──────────┘                └────────┘
//
// Envoy can be told to let requests pass that it could not ask about (failure_mode_allow). So what can't be read is refused
// like anything else, and never answered with an error.
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
	// Refuse is the decision about a request that the proxy did not describe.
	Refuse(surface string, reason verify.Reason) verify.Decision
}

// aliases are the names by which an upstream could take a header of the client's for one that the verifier has decided or
// set: many read an underscore as a hyphen.
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

// alwaysRemoved returns the names of the headers that the upstream must not get from any client: the token, unless it is to be
// kept, whatever would override the request that was decided about, and aliases. Envoy removes after it has set, so none that
// has a value is among them. What Envoy itself writes when it passes the request on, such as X-Forwarded-Host for a route that
// appends it, comes later and stays.
func alwaysRemoved(keepToken bool) []string {
	all := slices.Concat(override.Names(), aliases, override.Aliases())
	if keepToken {
		return all
	}
	return append([]string{"authorization"}, all...)
}
