package keys

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// advice is what to do about a condition, by its reason, where there is something to do.
var advice = map[string]string{
	keysv1alpha1.ReasonAnnounced:           "Wait; well below a second is usual. If it lasts, a verifier is stale: see the runbook.",
	keysv1alpha1.ReasonExpiringSoon:        "Create the key's successor, or lengthen spec.expiry.",
	keysv1alpha1.ReasonWaitingForVerifiers: "Wait. A verifier that is silent counts as refusing once its --max-staleness has passed.",
	keysv1alpha1.ReasonSuspended:           "To have the key work again: kubectl apikey resume.",
	keysv1alpha1.ReasonRevoked:             "A revoked key can't come back: create another with kubectl apikey create.",
	keysv1alpha1.ReasonExpired:             "Have it issued anew with kubectl apikey rotate, or create another.",
	keysv1alpha1.ReasonAwaitingDeletion:    "Wait for the garbage collector to remove the Secret of the key's predecessor.",
	keysv1alpha1.ReasonNoTenant:            "Have the namespace labelled as the spec.namespaceSelector of its Tenant asks.",
	keysv1alpha1.ReasonAmbiguousTenant:     "Have labels or selectors changed so that one Tenant selects the namespace.",
	keysv1alpha1.ReasonTenantChanged:       "Have the namespace's labels put back, or create another key for its tenant of now.",
	keysv1alpha1.ReasonTenantSuspended:     "Ask the platform team: all of the tenant's keys are refused until its spec.state is Active.",
	keysv1alpha1.ReasonQuotaExceeded:       "Revoke a key that nobody needs (kubectl apikey list --unused-for 90d), or have spec.maxKeys of the Tenant raised.",
	keysv1alpha1.ReasonUnknownScope:        "Correct the scope: kubectl apikey scopes lists them.",
	keysv1alpha1.ReasonScopeNotAllowed:     "Remove the scope: kubectl apikey tenant lists those that the tenant may have.",
	keysv1alpha1.ReasonExpiryNotOffered:    "Choose an expiry that kubectl apikey tenant lists.",
	keysv1alpha1.ReasonSecretConflict:      "Remove the Secret of that name that is not the key's, or set spec.secret.name.",
	keysv1alpha1.ReasonSecretRefused:       "Have the quota raised, or the policy changed, that the message names.",
	keysv1alpha1.ReasonInvalidTemplate:     "Correct the template in spec.secret.data.",
	keysv1alpha1.ReasonDigestConflict:      "Delete one of the two keys with this digest. If the token's own key is revoked, register another token.",
	keysv1alpha1.ReasonRootKeyLost:         "Restore the root key, or have another token made with kubectl apikey rotate.",
}

// Advice returns what a person can do about a reason, "" where there is nothing to do.
func Advice(reason string) string { return advice[reason] }

// ConditionAdvice returns what a person can do about a condition of a key, "" where it says that all is well.
func ConditionAdvice(condition *metav1.Condition) string {
	switch condition.Type {
	case keysv1alpha1.ConditionRevocationEffective, keysv1alpha1.ConditionPublished:
		if condition.Reason == keysv1alpha1.ReasonRevoked {
			return "" // Revoked says it.
		}
	case keysv1alpha1.ConditionReconciling, keysv1alpha1.ConditionStalled:
		return "" // The condition that has the same reason says it.
	}
	return Advice(condition.Reason)
}
