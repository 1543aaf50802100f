// Package keystate defines what an ApiKey and a Tenant mean, for every program that reads them: the controller, the
// verifier, the plugin and the page. A rule that two of them need is here, once.
//
//	ApiKey ──▶ IsCanary, CompareAge, Precedes      which object it is, and which of two comes first
//	       ──▶ Revoked, Suspended, Expired, …      facts that follow from spec, status and the time
//	       ──▶ StateOf, Outcome                    its state in one word, for people and for metrics
//	       ──▶ Claims                              what a verifier has to accept and to refuse
//	Tenant ──▶ TenantSuspended, TenantClaimOf
//
// What a key may do is read from status, which only the controller may write. What restricts or refuses it is read from
// spec and from status, and either is enough. A value that can't be read, or is unknown, refuses: the rules fail
// closed.
//
// The package is pure: its input is objects and a time.
package keystate
