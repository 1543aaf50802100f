package keys

import (
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// State is how a key is, in one word.
type State string

// States of a key.
const (
	// StateActive is that of a key that works.
	StateActive State = "Active"
	// StateExpiring is that of a key that works, and whose end the controller has warned of.
	StateExpiring State = "Expiring"
	// StateWaiting is that of a key that the controller has not come to an end with.
	StateWaiting State = "Waiting"
	// StateFailed is that of a key that needs a person. It may still work, with what was granted before.
	StateFailed State = "Failed"
	// StateSuspended is that of a key that is refused until somebody resumes it.
	StateSuspended State = "Suspended"
	// StateRevoking is that of a key that is revoked, while a verifier may not have learned it yet.
	StateRevoking State = "Revoking"
	// StateRevoked is that of a key that no verifier can accept any more.
	StateRevoked State = "Revoked"
	// StateExpired is that of a key whose expiry has passed.
	StateExpired State = "Expired"
	// StateDeleting is that of a key whose object is being deleted.
	StateDeleting State = "Deleting"
)

// StateOf returns how a key is at a time, and the reason and message of the condition that says so, where one does.
func StateOf(key *keysv1alpha1.ApiKey, now time.Time) (state State, reason, message string) {
	conditions := key.Status.Conditions
	switch {
	case key.DeletionTimestamp != nil:
		return StateDeleting, "", ""
	case key.Spec.State == keysv1alpha1.ApiKeyRevoked || apimeta.IsStatusConditionTrue(conditions, keysv1alpha1.ConditionRevoked):
		if apimeta.IsStatusConditionTrue(conditions, keysv1alpha1.ConditionRevocationEffective) {
			return told(key, StateRevoked, keysv1alpha1.ConditionRevocationEffective)
		}
		return told(key, StateRevoking, keysv1alpha1.ConditionRevocationEffective)
	case expired(key, now):
		return told(key, StateExpired, keysv1alpha1.ConditionExpired)
	case key.Spec.State == keysv1alpha1.ApiKeySuspended:
		return told(key, StateSuspended, keysv1alpha1.ConditionSuspended)
	case !current(key):
		return StateWaiting, "", "No controller has seen the key as it is now."
	case apimeta.IsStatusConditionTrue(conditions, keysv1alpha1.ConditionStalled):
		return told(key, StateFailed, keysv1alpha1.ConditionStalled)
	case !apimeta.IsStatusConditionTrue(conditions, keysv1alpha1.ConditionReady):
		return told(key, StateWaiting, keysv1alpha1.ConditionReady)
	}
	if c := apimeta.FindStatusCondition(conditions, keysv1alpha1.ConditionExpired); c != nil && c.Reason == keysv1alpha1.ReasonExpiringSoon {
		return StateExpiring, c.Reason, c.Message
	}
	return told(key, StateActive, keysv1alpha1.ConditionReady)
}

// told returns a state with what a condition says about it, if it is there.
func told(key *keysv1alpha1.ApiKey, state State, conditionType string) (_ State, reason, message string) {
	if c := apimeta.FindStatusCondition(key.Status.Conditions, conditionType); c != nil {
		return state, c.Reason, c.Message
	}
	return state, "", ""
}

// current says whether status is for the spec as it is now.
func current(key *keysv1alpha1.ApiKey) bool { return key.Status.ObservedGeneration == key.Generation }

// expired says whether a key's expiry has passed: by what the controller has said, or by the clock.
func expired(key *keysv1alpha1.ApiKey, now time.Time) bool {
	if apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionExpired) {
		return true
	}
	end := expires(key)
	return !end.IsZero() && !now.Before(end)
}

// expires returns from when on a key is refused, and the zero time where it does not expire: the earlier of what is granted
// and of what is asked for, as verifiers have it.
func expires(key *keysv1alpha1.ApiKey) time.Time {
	var end time.Time
	if key.Status.ExpiresTime != nil {
		end = key.Status.ExpiresTime.Time
	}
	if key.Status.IssuedTime != nil {
		if asked, ok := key.Spec.Expiry.From(key.Status.IssuedTime.Time); ok && (end.IsZero() || asked.Before(end)) {
			end = asked
		}
	}
	return end
}

// States returns all states that a key can be in.
func States() []string {
	all := []State{
		StateActive, StateExpiring, StateWaiting, StateFailed, StateSuspended, StateRevoking, StateRevoked, StateExpired, StateDeleting,
	}
	texts := make([]string, len(all))
	for i := range all {
		texts[i] = string(all[i])
	}
	return texts
}
