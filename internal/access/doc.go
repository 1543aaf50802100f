// Package access determines which scopes a request needs. Its input is host, method and path, its result a Requirement.
//
//	Host header ──── CanonicalHost ──┐
//	request target ─ CanonicalPath ──┤
//	method ──────────────────────────┴─► Matcher.Route ─► Requirement.SatisfiedBy(granted)
//	                                          ▲
//	AccessPolicies ──── Compile ──────────────┘
//
// An authorizer decides about a path that another program serves. The two must never read it differently. Three rules
// follow from that:
//
//   - A path or host with more than one reading is refused, never repaired: see CanonicalPath and CanonicalHost.
//   - Matching is strict. But a path that is undeclared by its exact spelling, and that a lenient router would take for
//     a declared one (another case, a trailing slash, a suffix such as .json), is refused, too. It never falls back to
//     a wider rule: see Matcher.Route.
//   - Only the most specific path counts. A request that it has no rule for is refused.
//
// The package is pure, and its results are immutable: any number of goroutines may read them. The functions that each
// request needs (CanonicalHost, CanonicalPath, Route, SatisfiedBy) allocate nothing, unless a path or host is not in
// its canonical form yet, or a segment of more than 256 bytes that is not all lower-case ASCII is compared with
// declared ones of that length.
package access
