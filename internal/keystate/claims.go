package keystate

import (
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Refusal is why verifiers refuse a key whatever the request, apart from reasons that depend on the time.
type Refusal uint8

// Refusals of a key.
const (
	// NotRefused means that neither spec nor status refuses the key.
	NotRefused Refusal = iota
	// RefusedRevoked means that the key is revoked. It takes precedence over deletion: until the object is gone, a revoked
	// key prevents others from registering the digest of its minted token.
	RefusedRevoked
	// RefusedDeleting means that the object is being deleted.
	RefusedDeleting
	// RefusedSuspended means that the key is suspended.
	RefusedSuspended
	// RefusedExpired means that the controller has recorded the key as expired.
	RefusedExpired
	// RefusedWithdrawn means that the key's namespace has moved to another tenant.
	RefusedWithdrawn
)

// RefusalOf returns the first reason why verifiers refuse a key. It leaves expiry by the clock to the caller: see
// CredentialExpires.
func RefusalOf(key *keysv1alpha1.ApiKey) Refusal {
	switch {
	case Revoked(key):
		return RefusedRevoked
	case key.DeletionTimestamp != nil:
		return RefusedDeleting
	case Suspended(key):
		return RefusedSuspended
	case ExpiryRecorded(key):
		return RefusedExpired
	case Withdrawn(key):
		return RefusedWithdrawn
	}
	return NotRefused
}

// Claim is what a key claims for one of its credentials: that the bearer of the token may do what is both granted and
// asked for.
type Claim struct {
	// CredentialID is the credential's public ID, and Digest that of its token.
	CredentialID string
	Digest       token.Digest
	// Minted reports whether the controller minted the token for the key.
	Minted bool
	// TenantID is the tenant that the key was issued to, according to status.
	TenantID string
	// Created is when the key's object was created, and Issued when the credential was issued.
	Created, Issued time.Time
	// Expires reports whether the credential expires. NotAfter is then the time from which it is refused.
	Expires  bool
	NotAfter time.Time
	Refusal  Refusal
	// Granted and Asked are the scopes of status and of spec. A request must be within both.
	Granted, Asked []keysv1alpha1.Scope
	// GrantedCIDRs and AskedCIDRs are the allowlists of status and of spec. A client must be on both; an empty list allows
	// any.
	GrantedCIDRs, AskedCIDRs []keysv1alpha1.CIDR
}

// Claims returns what a key claims, for each of its credentials. Grants come from status alone, which only the
// controller may write; restrictions and refusals come from spec and status. A credential whose digest can't be read is
// omitted, so its token is unknown.
func Claims(key *keysv1alpha1.ApiKey) []Claim {
	refusal := RefusalOf(key)
	claims := make([]Claim, 0, len(key.Status.Credentials))
	for i := range key.Status.Credentials {
		credential := &key.Status.Credentials[i]
		digest, err := token.ParseDigest(credential.Digest)
		if err != nil {
			continue
		}
		notAfter, expires := CredentialExpires(key, credential)
		claims = append(claims, Claim{
			CredentialID: credential.ID,
			Digest:       digest,
			Minted:       MintedCredential(credential),
			TenantID:     key.Status.TenantID,
			Created:      key.CreationTimestamp.Time,
			Issued:       credential.IssuedTime.Time,
			Expires:      expires,
			NotAfter:     notAfter,
			Refusal:      refusal,
			Granted:      key.Status.Scopes,
			Asked:        key.Spec.Scopes,
			GrantedCIDRs: key.Status.AllowedCIDRs,
			AskedCIDRs:   key.Spec.AllowedCIDRs,
		})
	}
	return claims
}

// TenantClaim is what a Tenant claims: which keys belong to it, and how it restricts them.
type TenantClaim struct {
	// ID is the tenant's ID, according to spec.
	ID string
	// Suspended reports whether all of the tenant's keys are refused.
	Suspended bool
	// AllowedCIDRs is the tenant's allowlist. An empty list allows any.
	AllowedCIDRs []keysv1alpha1.CIDR
}

// TenantClaimOf returns what a Tenant claims. The keys of a tenant that is being deleted are refused.
func TenantClaimOf(tenant *keysv1alpha1.Tenant) TenantClaim {
	return TenantClaim{
		ID:           tenant.Spec.ID,
		Suspended:    TenantSuspended(tenant) || tenant.DeletionTimestamp != nil,
		AllowedCIDRs: tenant.Spec.AllowedCIDRs,
	}
}
