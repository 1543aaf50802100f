package keys

import (
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// stateOf returns the state of a key at a time, with the reason and message of the condition that it is derived from,
// if there is one.
func stateOf(key *keysv1alpha1.ApiKey, now time.Time) (state keystate.State, reason, message string) {
	state, condition := keystate.StateOf(key, now)
	switch {
	case condition != nil:
		return state, condition.Reason, condition.Message
	case state == keystate.StateWaiting && !keystate.Observed(key):
		return state, "", "No controller has seen the key as it is now."
	}
	return state, "", ""
}

// States returns all states that a key can be in.
func States() []string {
	var texts []string
	for _, state := range keystate.States() {
		texts = append(texts, string(state))
	}
	return texts
}
