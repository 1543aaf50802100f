package index

import (
	"math"
	"slices"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// State is StateActive, or the reason why a key is refused whatever the request.
type State uint8

// States of a key that do not depend on the clock.
const (
	StateActive State = iota
	StateSuspended
	StateRevoked
	StateDeleting
	StateExpired
	// StateWithdrawn is the state of a key whose namespace has moved to another tenant.
	StateWithdrawn
	// StateContested is what a look-up without a tenant finds if several tenants claim a digest and none of them minted
	// its token.
	StateContested
)

// Never is the NotAfter of a credential that does not expire.
const Never = math.MaxInt64

// Grant is what a decision reports about the credential that a token stands for. The zero value stands for no
// credential.
type Grant struct {
	// CredentialID is the credential's public ID.
	CredentialID string
	// Name is the ApiKey's namespace and name, separated by a slash.
	Name string
	// ScopesHeader are the scopes that are both granted and asked for, separated by spaces, for the upstream.
	ScopesHeader string
	Tenant       TenantID
	// Issued is when the credential was issued, in seconds since 1970.
	Issued int64
	// NotAfter is when the credential expires, in nanoseconds since 1970, or Never.
	NotAfter int64
	// UsageSlot is the slot that records the uses of the credential; 0 is none.
	UsageSlot UsageSlot
	State     State
	// Minted reports whether the controller minted the token for the key. Anyone may bring the digest of any token, but
	// nobody can choose which token is minted.
	Minted bool
}

// Known reports whether there is a credential.
func (g *Grant) Known() bool { return g.CredentialID != "" || g.Name != "" }

// UsageSlot is the number of a slot in which uses of a credential are recorded. It stays the same when the grant
// changes.
type UsageSlot uint32

// Claim is everything that decisions need to know of one credential, as it is put into the index. Instants are stored
// to the second, within the years 1970 to 2106, except NotAfter.
type Claim struct {
	Grant
	Digest token.Digest
	// Created is when the ApiKey was created. Of two that bring the same digest, the older holds it.
	Created time.Time
	// Granted and Asked are the scopes of status and of spec. A request must be within both.
	Granted, Asked []keysv1alpha1.Scope
	// Allowlists are those of status and of spec. A client must be on both.
	Allowlists [2]Allowlist
}

// terms returns the part of a claim that is stored once for all claims that share it.
func (c *Claim) terms() *Terms {
	return &Terms{Granted: c.Granted, Asked: c.Asked, Allowlists: c.Allowlists, scopesHeader: c.ScopesHeader}
}

// distinct returns the claims, without those whose digest an earlier one has.
func distinct(claims []*Claim) []*Claim {
	for i, claim := range claims {
		if slices.ContainsFunc(claims[:i], func(c *Claim) bool { return c.Digest == claim.Digest }) {
			return distinct(slices.Delete(slices.Clone(claims), i, i+1))
		}
	}
	return claims
}

// seconds returns an instant as it is stored.
func seconds(unix int64) uint32 { return uint32(min(max(unix, 0), math.MaxUint32)) }
