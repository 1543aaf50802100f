package index

import (
	"math"
	"net/netip"
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
)

// Never is the NotAfter of a credential that does not expire, in nanoseconds since 1970.
const Never = math.MaxInt64

// Grant is everything that a decision needs to know of one credential. It is not changed once it is in the index.
type Grant struct {
	Digest token.Digest
	// CredentialID is the credential's public id.
	CredentialID string
	// Name is the ApiKey's namespace and name, with a slash between.
	Name string
	// Created is when the ApiKey was created: of two that claim a digest, the older holds it.
	Created time.Time
	// Issued is when the credential was, in seconds since 1970.
	Issued int64
	Tenant TenantID
	State  State
	// NotAfter is from when on the credential is refused, in nanoseconds since 1970, or Never.
	NotAfter int64
	// Granted and Asked are the scopes of status and of spec. A request must be within both.
	Granted, Asked []keysv1alpha1.Scope
	// ScopesHeader is what is both granted and asked, with spaces between, for the upstream.
	ScopesHeader string
	// Allowlists are those of status and of spec. A client must be on both.
	Allowlists [2]Allowlist
	// Meter is told of every request that the credential lets pass; nil tells nobody.
	Meter Meter
}

// Meter notes the uses of a credential. It is the same before and after its grant changes.
type Meter interface {
	// Used neither waits nor allocates.
	Used(now time.Time)
}

// Equal says whether two grants are the same in all that decisions depend on.
func (g *Grant) Equal(h *Grant) bool {
	return g.Digest == h.Digest && g.CredentialID == h.CredentialID && g.Name == h.Name && g.Created.Equal(h.Created) &&
		g.Tenant == h.Tenant && g.State == h.State && g.NotAfter == h.NotAfter &&
		slices.Equal(g.Granted, h.Granted) && slices.Equal(g.Asked, h.Asked) &&
		g.Allowlists[0].equal(h.Allowlists[0]) && g.Allowlists[1].equal(h.Allowlists[1])
}

// older says whether g holds a digest that h claims too. Names decide between objects of the same second, so that every
// verifier and the controller decide alike.
func (g *Grant) older(h *Grant) bool {
	if !g.Created.Equal(h.Created) {
		return g.Created.Before(h.Created)
	}
	return g.Name < h.Name
}

// Allowlist says which addresses requests may come from. The zero value allows any.
type Allowlist struct {
	prefixes   []netip.Prefix
	restricted bool
}

// NewAllowlist reads the blocks of an allowlist. One that can't be read, which the API server doesn't let in, allows
// nothing; the others still stand.
func NewAllowlist(cidrs []keysv1alpha1.CIDR) Allowlist {
	list := Allowlist{restricted: len(cidrs) > 0}
	for _, cidr := range cidrs {
		if prefix, err := netip.ParsePrefix(string(cidr)); err == nil {
			list.prefixes = append(list.prefixes, prefix.Masked())
		}
	}
	return list
}

func (l Allowlist) equal(m Allowlist) bool {
	return l.restricted == m.restricted && slices.Equal(l.prefixes, m.prefixes)
}

// Allows says whether requests may come from an address. The zero address, of a client that isn't known, is only allowed
// where any is.
func (l Allowlist) Allows(addr netip.Addr) bool {
	if !l.restricted {
		return true
	}
	addr = addr.Unmap()
	for _, prefix := range l.prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
