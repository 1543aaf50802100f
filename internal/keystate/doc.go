// Package keystate says what an ApiKey and a Tenant mean, for every program that reads them: the controller, the verifier, the
// plugin and the page. A rule that two of them need is here, once.
//
//	ApiKey ──▶ IsCanary, CompareAge, Precedes      which object it is, and which of two comes first
//	       ──▶ Revoked, Suspended, Expired, …      the facts that spec, status and the clock tell
//	       ──▶ StateOf, Outcome                    its state in one word, for people and for metrics
//	       ──▶ Claims                              what it asks a verifier to accept, and what it has it refuse
//	Tenant ──▶ TenantSuspended, TenantClaimOf
//
// What grants is read from status, which only the controller may write. What refuses is read from spec and from status, and each
// of the two is enough. A value that can't be read, or that is not known here, refuses: it fails closed.
//
// The package is pure: objects and a time in, an answer out.
package keystate
