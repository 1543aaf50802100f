package keystate

import (
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Refusal is why verifiers refuse a key whatever the request, as far as that does not depend on the time.
type Refusal uint8

// Refusals of a key.
const (
	// NotRefused is that of a key that spec and status have nothing against.
	NotRefused Refusal = iota
	// RefusedRevoked is that of a revoked key, while its object is being deleted too: whether others may register the digest of a
	// minted token depends on it until the object is gone.
	RefusedRevoked
	// RefusedDeleting is that of a key whose object is being deleted.
	RefusedDeleting
	// RefusedSuspended is that of a suspended key.
	RefusedSuspended
	// RefusedExpired is that of a key that the controller has recorded as expired.
	RefusedExpired
	// RefusedWithdrawn is that of a key whose namespace has moved to another tenant.
	RefusedWithdrawn
)

// RefusalOf returns the first reason why verifiers refuse a key. Whether it has expired by the clock is up to them: see
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

// Claim is what a key claims for one of its credentials: that whoever has the token may do what is both granted and asked for.
type Claim struct {
	// CredentialID is the credential's public id, and Digest its token's.
	CredentialID string
	Digest       token.Digest
	// Minted says that the controller minted the token for the key.
	Minted bool
	// TenantID is the tenant that the key was issued to, as status has it.
	TenantID string
	// Created is when the key's object was created, and Issued when the credential was.
	Created, Issued time.Time
	// Expires says whether the credential expires, and NotAfter from when on it is refused then.
	Expires  bool
	NotAfter time.Time
	Refusal  Refusal
	// Granted and Asked are the scopes of status and of spec. A request must be within both.
	Granted, Asked []keysv1alpha1.Scope
	// GrantedCIDRs and AskedCIDRs are the allowlists of status and of spec. A client must be on both; an empty one allows any.
	GrantedCIDRs, AskedCIDRs []keysv1alpha1.CIDR
}

// Claims returns what a key claims, for each of its credentials. What it is granted is from status alone, which only the controller
// may write; what it is refused, from spec and status. A credential whose digest can't be read is left out, so it is unknown.
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

// TenantClaim is what a Tenant claims: which keys are its own, and what they are refused.
type TenantClaim struct {
	// ID is the tenant's, as spec has it.
	ID string
	// Suspended says that all of the tenant's keys are refused.
	Suspended bool
	// AllowedCIDRs is the tenant's allowlist. An empty one allows any.
	AllowedCIDRs []keysv1alpha1.CIDR
}

// TenantClaimOf returns what a Tenant claims. One that is being deleted has its keys refused.
func TenantClaimOf(tenant *keysv1alpha1.Tenant) TenantClaim {
	return TenantClaim{
		ID:           tenant.Spec.ID,
		Suspended:    TenantSuspended(tenant) || tenant.DeletionTimestamp != nil,
		AllowedCIDRs: tenant.Spec.AllowedCIDRs,
	}
}
