// Package verify decides whether a request is allowed. It is pure and independent of protocols: adapters
// (internal/surface) convert what a proxy sends to a Request, and a Decision to the kind of answer that the proxy
// expects.
//
// The order of the checks is documented (docs/verifier.md#the-decision), because it determines what a refused caller
// learns:
//
//  1. exactly one bearer credential, exactly one tenant, and neither to be dropped on the way (Connection)
//  2. the token's length, characters and checksum: an invalid one costs no hashing
//  3. digest → grant
//  4. refused by state or by the clock
//  5. tenant, client address, route and scopes
//  6. freshness: nothing is allowed by an index that may be out of date
//
// Identify takes the same steps for a token alone, without a route and possibly without a tenant. Explain reports every
// step to people.
//
// Only "could not check" is out of order: a token that is not found in an index that may be out of date is Unavailable,
// not unknown.
package verify
