package admission

import (
	"fmt"
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/tenancy"
)

// Check is one rule of admission. It returns nil if the key keeps the rule, and otherwise why the key is refused. It is
// pure.
type Check func(Input, *keysv1alpha1.Tenant) *status.Outcome

// checks are in the order in which a person would fix what they find.
var checks = []Check{
	tenantNotSuspended, // The tenant's keys may work at all.
	scopesAllowed,      // The tenant may grant each scope.
	ScopesDeclared,     // Some AccessPolicy declares each scope.
	expiryOffered,      // The tenant offers the expiry.
	digestNotRevoked,   // The registered token was not revoked.
	digestFree,         // No other key of the tenant holds the digest.
	namespaceServed,    // The controller may write the Secret.
}

// Decide returns the key's tenant, and the first reason to refuse the key, or nil. It is pure.
func Decide(in Input) (*keysv1alpha1.Tenant, *status.Outcome) {
	tenant, refusal := tenantOf(in)
	if refusal != nil {
		return nil, refusal
	}
	for _, check := range checks {
		if refusal := check(in, tenant); refusal != nil {
			return tenant, refusal
		}
	}
	return tenant, nil
}

// tenantOf returns the one tenant that the key's namespace belongs to. A key stays with the tenant it was issued to.
func tenantOf(in Input) (*keysv1alpha1.Tenant, *status.Outcome) {
	selected := tenancy.Of(in.Namespace, in.Tenants)
	issuedTo := in.Key.Status.TenantID
	if len(selected) > 1 {
		return nil, ambiguous(in.Key, selected)
	}
	if len(selected) == 0 {
		if issuedTo != "" {
			return nil, status.Stalled(keysv1alpha1.ReasonTenantChanged, fmt.Sprintf(
				"The key was issued to tenant %s, and no tenant selects namespace %s any more: "+
					"give the namespace its labels back, or create another ApiKey.",
				issuedTo, in.Key.Namespace))
		}
		return nil, status.Stalled(keysv1alpha1.ReasonNoTenant, fmt.Sprintf(
			"No tenant selects namespace %s: label the namespace as the spec.namespaceSelector of its Tenant asks.",
			in.Key.Namespace))
	}
	tenant := selected[0]
	if issuedTo != "" && !strings.EqualFold(issuedTo, tenant.Spec.ID) {
		return nil, status.Stalled(keysv1alpha1.ReasonTenantChanged, fmt.Sprintf(
			"The key was issued to tenant %s, and namespace %s now belongs to tenant %s (%s): "+
				"create another ApiKey for that tenant, or give the namespace its labels back.",
			issuedTo, in.Key.Namespace, tenant.Name, tenant.Spec.ID))
	}
	if holder := tenancy.HolderOf(tenant.Spec.ID, in.Tenants); holder.Name != tenant.Name {
		return nil, status.Stalled(keysv1alpha1.ReasonAmbiguousTenant, fmt.Sprintf(
			"Tenant %s has the id of the older tenant %s: delete one of them.", tenant.Name, holder.Name))
	}
	return tenant, nil
}

// ambiguous refuses a key whose namespace several tenants select.
func ambiguous(key *keysv1alpha1.ApiKey, selected []*keysv1alpha1.Tenant) *status.Outcome {
	const most = 10 // A condition's message has its bound, and any number of tenants may select a namespace.
	var names []string
	for _, tenant := range selected[:min(len(selected), most)] {
		names = append(names, tenant.Name)
	}
	if more := len(selected) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return status.Stalled(keysv1alpha1.ReasonAmbiguousTenant, fmt.Sprintf(
		"Namespace %s is selected by the tenants %s: "+
			"change its labels or their spec.namespaceSelector so that one selects it.",
		key.Namespace, strings.Join(names, ", ")))
}

// tenantNotSuspended refuses the keys of a suspended tenant.
func tenantNotSuspended(_ Input, tenant *keysv1alpha1.Tenant) *status.Outcome {
	if tenant.Spec.State != keysv1alpha1.TenantSuspended {
		return nil
	}
	return status.Stalled(keysv1alpha1.ReasonTenantSuspended,
		fmt.Sprintf("Tenant %s is suspended: its keys are refused until its spec.state is Active.", tenant.Name))
}

// scopesAllowed refuses a scope that the tenant may not grant.
func scopesAllowed(in Input, tenant *keysv1alpha1.Tenant) *status.Outcome {
	for _, scope := range in.Key.Spec.Scopes {
		if !access.CoveredBy(tenant.Spec.AllowedScopes, scope) {
			return status.Stalled(keysv1alpha1.ReasonScopeNotAllowed, fmt.Sprintf(
				"spec.scopes: tenant %s may not grant %s, only %s.", tenant.Name, scope, list(tenant.Spec.AllowedScopes)))
		}
	}
	return nil
}

// ScopesDeclared refuses a scope that no AccessPolicy declares. It ignores the tenant.
func ScopesDeclared(in Input, _ *keysv1alpha1.Tenant) *status.Outcome {
	for _, scope := range in.Key.Spec.Scopes {
		if in.Catalogue.Declares(scope) {
			continue
		}
		hint := "declare it in one, or remove it."
		if nearest, ok := in.Catalogue.Nearest(scope); ok {
			hint = fmt.Sprintf("did you mean %s?", nearest)
		}
		return status.Stalled(keysv1alpha1.ReasonUnknownScope,
			fmt.Sprintf("spec.scopes: no AccessPolicy declares %s: %s", scope, hint))
	}
	return nil
}

// expiryOffered refuses an expiry that the tenant does not offer.
func expiryOffered(in Input, tenant *keysv1alpha1.Tenant) *status.Outcome {
	expiry := in.Key.Spec.Expiry.OrNever()
	if slices.Contains(tenant.Spec.ExpiryOptions, expiry) {
		return nil
	}
	return status.Stalled(keysv1alpha1.ReasonExpiryNotOffered, fmt.Sprintf(
		"spec.expiry: tenant %s does not offer %s, only %s.", tenant.Name, expiry, list(tenant.Spec.ExpiryOptions)))
}

// namespaceServed refuses a key whose Secret the controller may not write. A key that registers a digest has no Secret.
func namespaceServed(in Input, _ *keysv1alpha1.Tenant) *status.Outcome {
	if in.Served || in.Key.Spec.Digest != nil {
		return nil
	}
	return status.Stalled(keysv1alpha1.ReasonNamespaceNotServed, fmt.Sprintf(
		"The controller may not keep Secrets in namespace %s: add it to the controller's --namespaces "+
			"and bind the ClusterRole apikey-controller-secrets there, or create the key in another.",
		in.Key.Namespace))
}

func list[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i := range values {
		texts[i] = string(values[i])
	}
	return strings.Join(texts, ", ")
}

// digestNotRevoked refuses a digest whose token was minted for a key that is revoked, whichever tenant's key that is:
// registering the digest must not bring the token back. A revoked key that registered its digest affects only its own
// tenant (digestFree): anybody can register the digest of any token, and must not get it refused to others.
func digestNotRevoked(in Input, _ *keysv1alpha1.Tenant) *status.Outcome {
	for i := range in.Claimants {
		if other := &in.Claimants[i]; other.UID != in.Key.UID && keystate.Minted(other) && keystate.Revoked(other) {
			// It doesn't say which key: that may be another tenant's.
			return status.Stalled(keysv1alpha1.ReasonDigestConflict,
				"spec.digest: the token was minted for an ApiKey that is revoked, and stays refused: "+
					"register the digest of another token.")
		}
	}
	return nil
}

// digestFree refuses a digest that another key of the tenant holds. Another tenant's claim changes nothing for this
// one.
func digestFree(in Input, tenant *keysv1alpha1.Tenant) *status.Outcome {
	for i := range in.Claimants {
		other := &in.Claimants[i]
		sameTenant := strings.EqualFold(other.Status.TenantID, tenant.Spec.ID)
		if other.UID == in.Key.UID || !sameTenant || !keystate.Precedes(other, in.Key) {
			continue
		}
		// Whoever reads this may not see the tenant's other namespaces.
		which := fmt.Sprintf("another ApiKey of tenant %s, in another namespace,", tenant.Name)
		if other.Namespace == in.Key.Namespace {
			which = fmt.Sprintf("the older ApiKey %s/%s of tenant %s", other.Namespace, other.Name, tenant.Name)
		}
		return status.Stalled(keysv1alpha1.ReasonDigestConflict,
			"spec.digest: "+which+" has the same digest: delete one of them.")
	}
	return nil
}
