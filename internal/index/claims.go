package index

import (
	"math"
	"strings"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// ClaimsOf returns the claims of an ApiKey as the index stores them, one for each of its credentials. It is nil if the
// tenant's ID can't be read, because the key then belongs to no tenant.
func ClaimsOf(key *keysv1alpha1.ApiKey) []*Claim {
	tenant, ok := ParseTenantID(key.Status.TenantID)
	if !ok {
		return nil
	}
	made := keystate.Claims(key)
	claims := make([]*Claim, len(made))
	for i := range made {
		claims[i] = newClaim(key.Namespace+"/"+key.Name, tenant, &made[i])
	}
	return claims
}

// newClaim converts a claim to the form in which the index stores it.
func newClaim(name string, tenant TenantID, made *keystate.Claim) *Claim {
	claim := &Claim{
		Grant: Grant{
			CredentialID: made.CredentialID,
			Name:         name,
			ScopesHeader: header(access.Narrowed(made.Granted, made.Asked)),
			Tenant:       tenant,
			Issued:       made.Issued.Unix(),
			NotAfter:     Never,
			State:        stateOf(made.Refusal),
			Minted:       made.Minted,
		},
		Digest:     made.Digest,
		Created:    made.Created,
		Granted:    made.Granted,
		Asked:      made.Asked,
		Allowlists: [2]Allowlist{NewAllowlist(made.GrantedCIDRs), NewAllowlist(made.AskedCIDRs)},
	}
	if made.Expires {
		claim.NotAfter = nanoseconds(made.NotAfter)
	}
	return claim
}

// stateOf returns the state for a refusal. An unknown one is refused, too.
func stateOf(refusal keystate.Refusal) State {
	switch refusal {
	case keystate.NotRefused:
		return StateActive
	case keystate.RefusedRevoked:
		return StateRevoked
	case keystate.RefusedDeleting:
		return StateDeleting
	case keystate.RefusedExpired:
		return StateExpired
	case keystate.RefusedWithdrawn:
		return StateWithdrawn
	}
	return StateSuspended
}

// nanoseconds returns an instant in nanoseconds since 1970. Instants outside the range are Never or long past.
func nanoseconds(t time.Time) int64 {
	switch {
	case t.Year() >= 2262:
		return Never
	case t.Year() < 1678:
		return math.MinInt64
	}
	return t.UnixNano()
}

// header joins scopes for the header that the upstream gets.
func header(scopes []keysv1alpha1.Scope) string {
	var b strings.Builder
	for i, scope := range scopes {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(string(scope))
	}
	return b.String()
}

// TenantOf returns a Tenant as the index stores it. It is false if the ID can't be read, because no key belongs to the
// tenant then.
func TenantOf(tenant *keysv1alpha1.Tenant) (TenantID, Tenant, bool) {
	made := keystate.TenantClaimOf(tenant)
	id, ok := ParseTenantID(made.ID)
	return id, Tenant{Suspended: made.Suspended, Allowlists: []Allowlist{NewAllowlist(made.AllowedCIDRs)}}, ok
}
