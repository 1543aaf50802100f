// Package verify decides whether a request may pass. It is pure and knows no protocol: adapters (internal/surface) turn
// what a proxy sent into a Request, and a Decision into the proxy's own kind of answer.
//
// The order of the checks is documented (docs/verifier.md#the-decision), because it decides what a caller who is refused learns:
//
//  1. exactly one bearer credential, exactly one tenant, and neither to be dropped on the way (Connection)
//  2. the token's length, characters and checksum: junk costs no hashing
//  3. digest → grant
//  4. refused by state or by the clock
//  5. tenant, client address, route and scopes
//  6. freshness: nothing is allowed on old knowledge
//
// Identify is what is left of it where no route is asked about, and maybe no tenant named. Explain tells every step of it to people.
//
// Only "could not check" comes before its turn: what is not found in an index that is not up to date is Unavailable and
// not unknown.
package verify
