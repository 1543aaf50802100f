package keystate

import (
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// State is the state of a key in one word, for people.
type State string

// States of a key.
const (
	// StateActive is the state of a key that works.
	StateActive State = "Active"
	// StateExpiring is the state of a key that works, and whose expiry the controller has warned of.
	StateExpiring State = "Expiring"
	// StateWaiting is the state of a key that the controller has not finished with.
	StateWaiting State = "Waiting"
	// StateFailed is the state of a key that somebody has to fix. It may still work, with what was granted before.
	StateFailed State = "Failed"
	// StateSuspended is the state of a key that is refused until somebody resumes it.
	StateSuspended State = "Suspended"
	// StateRevoking is the state of a revoked key while a verifier may not have learned of the revocation yet.
	StateRevoking State = "Revoking"
	// StateRevoked is the state of a revoked key that no verifier accepts any more.
	StateRevoked State = "Revoked"
	// StateExpired is the state of a key whose expiry has passed.
	StateExpired State = "Expired"
	// StateDeleting is the state of a key whose object is being deleted.
	StateDeleting State = "Deleting"
)

// States returns all states that a key can be in.
func States() []State {
	return []State{
		StateActive, StateExpiring, StateWaiting, StateFailed, StateSuspended,
		StateRevoking, StateRevoked, StateExpired, StateDeleting,
	}
}

// StateOf returns the state of a key at a time, and the condition that reports it, or nil if there is none. More final
// states take precedence.
func StateOf(key *keysv1alpha1.ApiKey, now time.Time) (State, *metav1.Condition) {
	conditions := key.Status.Conditions
	find := func(conditionType string) *metav1.Condition {
		return apimeta.FindStatusCondition(conditions, conditionType)
	}
	switch {
	case key.DeletionTimestamp != nil:
		return StateDeleting, nil
	case Revoked(key) && apimeta.IsStatusConditionTrue(conditions, keysv1alpha1.ConditionRevocationEffective):
		return StateRevoked, find(keysv1alpha1.ConditionRevocationEffective)
	case Revoked(key):
		return StateRevoking, find(keysv1alpha1.ConditionRevocationEffective)
	case Expired(key, now):
		return StateExpired, find(keysv1alpha1.ConditionExpired)
	case Suspended(key):
		return StateSuspended, find(keysv1alpha1.ConditionSuspended)
	case !Observed(key):
		return StateWaiting, nil
	case apimeta.IsStatusConditionTrue(conditions, keysv1alpha1.ConditionStalled):
		return StateFailed, find(keysv1alpha1.ConditionStalled)
	case !apimeta.IsStatusConditionTrue(conditions, keysv1alpha1.ConditionReady):
		return StateWaiting, find(keysv1alpha1.ConditionReady)
	}
	expired := find(keysv1alpha1.ConditionExpired)
	if expired != nil && expired.Reason == keysv1alpha1.ReasonExpiringSoon {
		return StateExpiring, expired
	}
	return StateActive, find(keysv1alpha1.ConditionReady)
}

// Outcome returns the condition that summarises what the controller has last found: a requested state in which the key
// does not work; otherwise what keeps it from working; otherwise Ready. It is nil if there is no such condition yet.
func Outcome(conditions []metav1.Condition) *metav1.Condition {
	for _, conditionType := range []string{
		keysv1alpha1.ConditionRevoked, keysv1alpha1.ConditionExpired,
		keysv1alpha1.ConditionSuspended, keysv1alpha1.ConditionStalled,
	} {
		condition := apimeta.FindStatusCondition(conditions, conditionType)
		if condition != nil && condition.Status == metav1.ConditionTrue {
			return condition
		}
	}
	return apimeta.FindStatusCondition(conditions, keysv1alpha1.ConditionReady)
}

// Reason returns the reason of a condition, or blank if there is no such condition.
func Reason(conditions []metav1.Condition, conditionType string) string {
	if condition := apimeta.FindStatusCondition(conditions, conditionType); condition != nil {
		return condition.Reason
	}
	return ""
}

// Observed reports whether the controller has seen the current spec of a key.
func Observed(key *keysv1alpha1.ApiKey) bool { return key.Status.ObservedGeneration == key.Generation }

// Revoked reports whether a key is revoked, according to spec or status. Neither can be undone.
func Revoked(key *keysv1alpha1.ApiKey) bool {
	return key.Spec.State == keysv1alpha1.ApiKeyRevoked ||
		apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionRevoked)
}

// Suspended reports whether a key that is not revoked is refused until its spec.state is Active again. An unknown or
// blank state suspends the key; the schema's default is Active.
func Suspended(key *keysv1alpha1.ApiKey) bool {
	return key.Spec.State != keysv1alpha1.ApiKeyActive && key.Spec.State != keysv1alpha1.ApiKeyRevoked
}

// ExpiryRecorded reports whether the controller has recorded that the key has expired. That is final: a longer expiry
// does not bring the key back, only issuing it again does.
func ExpiryRecorded(key *keysv1alpha1.ApiKey) bool {
	return apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionExpired)
}

// Expired reports whether a key has expired, as recorded or by the clock.
func Expired(key *keysv1alpha1.ApiKey, now time.Time) bool {
	if ExpiryRecorded(key) {
		return true
	}
	end, expires := Expires(key)
	return expires && !now.Before(end)
}

// Withdrawn reports whether a key was issued to a tenant that its namespace no longer belongs to.
func Withdrawn(key *keysv1alpha1.ApiKey) bool {
	return Reason(key.Status.Conditions, keysv1alpha1.ConditionAdmitted) == keysv1alpha1.ReasonTenantChanged
}

// NeverIssued reports whether a key was refused before it had a credential.
func NeverIssued(key *keysv1alpha1.ApiKey) bool {
	return len(key.Status.Credentials) == 0 &&
		apimeta.IsStatusConditionFalse(key.Status.Conditions, keysv1alpha1.ConditionAdmitted)
}

// Finished reports whether a key is not active, and won't be again by itself. It then needs no place in its tenant's
// ledger. Expiry by the clock alone doesn't count: until the controller has recorded it, a longer expiry keeps the key
// alive.
func Finished(key *keysv1alpha1.ApiKey) bool {
	return Revoked(key) || ExpiryRecorded(key) || NeverIssued(key)
}

// TenantSuspended reports whether a tenant's keys are refused until its spec.state is Active again. An unknown or blank
// state suspends the tenant; the schema's default is Active.
func TenantSuspended(tenant *keysv1alpha1.Tenant) bool {
	return tenant.Spec.State != keysv1alpha1.TenantActive
}
