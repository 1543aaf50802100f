// Package access says which scopes a request needs: host, method and path in, a Requirement out.
//
//	Host header ──── CanonicalHost ──┐
//	request target ─ CanonicalPath ──┤
//	method ──────────────────────────┴─► Matcher.Route ─► Requirement.SatisfiedBy(granted)
//	                                          ▲
//	AccessPolicies ──── Compile ──────────────┘
//
// An authorizer decides about a path that something else serves, so the one thing that must not happen is that the two
// read it differently. Three rules follow:
//
//   - What has more than one reading is refused, never repaired: see CanonicalPath and CanonicalHost.
//   - Matching is strict, but what is strictly an undeclared path and by a lenient router's reading a declared one
//     (another case, a trailing slash, a suffix such as .json) is refused too, not left to a wider rule: see
//     Matcher.Route.
//   - The most specific path decides alone. A request that it has no rule for is refused.
//
// The package is pure, and what it compiles is immutable: any number of goroutines may read it. The paths of a request
// (CanonicalHost, CanonicalPath, Route, SatisfiedBy) allocate nothing, save where a path or host is not yet in its
// canonical form, or where a segment of more than 256 bytes that is not all lower-case ASCII is compared with declared
// ones as long.
package access
