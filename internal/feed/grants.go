package feed

import (
	"slices"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Claims returns what the index holds of an ApiKey: a claim for each of its credentials. What is granted is read from
// status alone, which only the controller may write; what is refused, from spec and status. A credential that can't be
// read is left out, so it is unknown.
func Claims(key *keysv1alpha1.ApiKey) []*index.Claim {
	tenant, ok := index.ParseTenantID(key.Status.TenantID)
	if !ok {
		return nil
	}
	claims := make([]*index.Claim, 0, len(key.Status.Credentials))
	for i := range key.Status.Credentials {
		credential := &key.Status.Credentials[i]
		digest, err := token.ParseDigest(credential.Digest)
		if err != nil {
			continue
		}
		claims = append(claims, &index.Claim{
			Grant: index.Grant{
				CredentialID: credential.ID,
				Name:         objectName(key),
				ScopesHeader: effectiveScopes(key.Status.Scopes, key.Spec.Scopes),
				Tenant:       tenant,
				Issued:       credential.IssuedTime.Unix(),
				NotAfter:     notAfter(key, credential),
				State:        state(key),
				Minted:       credential.Root > 0,
			},
			Digest:  digest,
			Created: key.CreationTimestamp.Time,
			Granted: key.Status.Scopes,
			Asked:   key.Spec.Scopes,
			Allowlists: [2]index.Allowlist{
				index.NewAllowlist(key.Status.AllowedCIDRs),
				index.NewAllowlist(key.Spec.AllowedCIDRs),
			},
		})
	}
	return claims
}

func state(key *keysv1alpha1.ApiKey) index.State {
	conditions := key.Status.Conditions
	admitted := apimeta.FindStatusCondition(conditions, keysv1alpha1.ConditionAdmitted)
	switch {
	case key.Spec.State == keysv1alpha1.ApiKeyRevoked, apimeta.IsStatusConditionTrue(conditions, keysv1alpha1.ConditionRevoked):
		return index.StateRevoked // Before the next: others' claims of a minted token's digest depend on it until the object is gone.
	case key.DeletionTimestamp != nil:
		return index.StateDeleting
	case key.Spec.State != keysv1alpha1.ApiKeyActive:
		return index.StateSuspended
	case apimeta.IsStatusConditionTrue(conditions, keysv1alpha1.ConditionExpired):
		return index.StateExpired
	case admitted != nil && admitted.Reason == keysv1alpha1.ReasonTenantChanged:
		return index.StateWithdrawn
	}
	return index.StateActive
}

// notAfter is the earliest of what status says and what spec now asks for, so that a shorter expiry counts at once.
func notAfter(key *keysv1alpha1.ApiKey, credential *keysv1alpha1.Credential) int64 {
	earliest := int64(index.Never)
	limit := func(t time.Time) {
		// Beyond the years that nanoseconds reach, UnixNano is not defined.
		if t.Year() < 2262 {
			earliest = min(earliest, t.UnixNano())
		}
	}
	if key.Status.ExpiresTime != nil {
		limit(key.Status.ExpiresTime.Time)
	}
	if credential.ValidUntil != nil {
		limit(credential.ValidUntil.Time)
	}
	if key.Status.IssuedTime != nil {
		if expires, ok := key.Spec.Expiry.From(key.Status.IssuedTime.Time); ok {
			limit(expires)
		}
	}
	return earliest
}

// effectiveScopes names what is in both lists, as the narrower of the two has it.
func effectiveScopes(granted, asked []keysv1alpha1.Scope) string {
	var effective []string
	for _, scope := range granted {
		if access.CoveredBy(asked, scope) {
			effective = append(effective, string(scope))
		}
	}
	for _, scope := range asked { // Those that are in both by name are there already.
		if access.CoveredBy(granted, scope) && !slices.Contains(granted, scope) {
			effective = append(effective, string(scope))
		}
	}
	return strings.Join(effective, " ")
}

// TenantOf returns what the index holds of a Tenant. It is false where its id can't be read: no key is in it then.
func TenantOf(tenant *keysv1alpha1.Tenant) (index.TenantID, index.Tenant, bool) {
	id, ok := index.ParseTenantID(tenant.Spec.ID)
	return id, index.Tenant{
		Suspended:  tenant.Spec.State == keysv1alpha1.TenantSuspended || tenant.DeletionTimestamp != nil,
		Allowlists: []index.Allowlist{index.NewAllowlist(tenant.Spec.AllowedCIDRs)},
	}, ok
}
