package index

import (
	"math"
	"slices"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// State is why a key is refused whatever it asks for, or StateActive.
type State uint8

// States of a key, as far as they are no matter of the clock.
const (
	StateActive State = iota
	StateSuspended
	StateRevoked
	StateDeleting
	StateExpired
	// StateWithdrawn is that of a key whose namespace has moved to another tenant.
	StateWithdrawn
	// StateContested is what a look-up without a tenant finds of a digest that several tenants claim, none of which minted
	// its token: nobody's key.
	StateContested
)

// Never is the NotAfter of a credential that does not expire, in nanoseconds since 1970.
const Never = math.MaxInt64

// Grant is what a decision tells of the credential that a token stands for. The zero value is that of no credential.
type Grant struct {
	// CredentialID is the credential's public id.
	CredentialID string
	// Name is the ApiKey's namespace and name, with a slash between.
	Name string
	// ScopesHeader is what is both granted and asked, with spaces between, for the upstream.
	ScopesHeader string
	Tenant       TenantID
	// Issued is when the credential was, in seconds since 1970.
	Issued int64
	// NotAfter is from when on the credential is refused, in nanoseconds since 1970, or Never.
	NotAfter int64
	// UsageSlot notes every request that the credential lets pass; 0 is none.
	UsageSlot UsageSlot
	State     State
	// Minted says that the controller minted the token for the key. Anybody may bring the digest of any token; nobody can choose
	// which token is minted.
	Minted bool
}

// Known says whether there is a credential.
func (g *Grant) Known() bool { return g.CredentialID != "" || g.Name != "" }

// UsageSlot is the number of what notes the uses of a credential. It is the same before and after its grant changes.
type UsageSlot uint32

// Claim is everything that a decision needs to know of one credential, as it is put into the index. Instants are kept to the
// second and within the years from 1970 to 2106, but for NotAfter.
type Claim struct {
	Grant
	Digest token.Digest
	// Created is when the ApiKey was created: of two that bring the same digest, the older holds it.
	Created time.Time
	// Granted and Asked are the scopes of status and of spec. A request must be within both.
	Granted, Asked []keysv1alpha1.Scope
	// Allowlists are those of status and of spec. A client must be on both.
	Allowlists [2]Allowlist
}

// terms returns what of a claim is kept once for all that have the same.
func (c *Claim) terms() *Terms {
	return &Terms{Granted: c.Granted, Asked: c.Asked, Allowlists: c.Allowlists, scopesHeader: c.ScopesHeader}
}

// distinct returns the claims without those of a digest that one before has already.
func distinct(claims []*Claim) []*Claim {
	for i, claim := range claims {
		if slices.ContainsFunc(claims[:i], func(c *Claim) bool { return c.Digest == claim.Digest }) {
			return distinct(slices.Delete(slices.Clone(claims), i, i+1))
		}
	}
	return claims
}

// seconds returns an instant as it is kept.
func seconds(unix int64) uint32 { return uint32(min(max(unix, 0), math.MaxUint32)) }
