package census

import (
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// The states that keys are counted by.
const (
	stateReady     = "ready"
	stateWaiting   = "waiting"
	stateStalled   = "stalled"
	stateSuspended = "suspended"
	stateExpired   = "expired"
	stateRevoked   = "revoked"
)

// verdict is what has become of a key. Reasons are those of the API's package, so there are as many.
type verdict struct {
	state, reason string
}

// keyFacts are what is kept of a key.
type keyFacts struct {
	// verdict is the number that verdicts has for it: the words would take as much as all the rest.
	verdict uint16
	// issued and expires are zero where the key is not, or never does.
	issued, expires instant
	// waitingSince is zero where the key waits for nothing.
	waitingSince instant
	// behind says that the controller has not looked at the key's spec as it is.
	behind bool
}

// verdicts numbers those that there are, of which there are few.
type verdicts []verdict

// number returns the number of a verdict, which has one from then on.
func (v *verdicts) number(of verdict) uint16 {
	i := slices.Index(*v, of)
	if i < 0 {
		i = len(*v)
		*v = append(*v, of)
	}
	return uint16(i) //nolint:gosec // States and reasons are constants.
}

// instant is a time in milliseconds since 1970, a third of a time.Time; zero is none.
type instant int64

func instantOf(t time.Time) instant { return instant(t.UnixMilli()) }

func (i instant) sub(before instant) time.Duration { return time.Duration(i-before) * time.Millisecond }

// factsOf reads what counts of a key. When its spec was changed isn't in it: where the controller is behind, that is when it
// was first seen to be.
func factsOf(key *keysv1alpha1.ApiKey, before keyFacts, now time.Time) keyFacts {
	facts := keyFacts{behind: !keystate.Observed(key)}
	if expires, ok := keystate.Expires(key); ok && key.Status.IssuedTime != nil {
		facts.issued, facts.expires = instantOf(key.Status.IssuedTime.Time), instantOf(expires)
	}
	reconciling := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionReconciling)
	switch {
	case len(key.Status.Conditions) == 0:
		facts.waitingSince = instantOf(key.CreationTimestamp.Time)
	case reconciling != nil && reconciling.Status == metav1.ConditionTrue:
		facts.waitingSince = instantOf(reconciling.LastTransitionTime.Time)
	case facts.behind && before.behind:
		facts.waitingSince = before.waitingSince
	case facts.behind:
		facts.waitingSince = instantOf(now)
	}
	return facts
}

// stateBy has the state of a key by the condition that tells its outcome.
var stateBy = map[string]string{
	keysv1alpha1.ConditionRevoked:   stateRevoked,
	keysv1alpha1.ConditionExpired:   stateExpired,
	keysv1alpha1.ConditionSuspended: stateSuspended,
	keysv1alpha1.ConditionStalled:   stateStalled,
}

// verdictOf returns what the controller has last come to with a key.
func verdictOf(key *keysv1alpha1.ApiKey) verdict {
	switch outcome := keystate.Outcome(key.Status.Conditions); {
	case outcome == nil:
		return verdict{state: stateWaiting}
	case outcome.Type != keysv1alpha1.ConditionReady:
		return verdict{stateBy[outcome.Type], outcome.Reason}
	case outcome.Status == metav1.ConditionTrue:
		return verdict{stateReady, outcome.Reason}
	default:
		return verdict{stateWaiting, outcome.Reason}
	}
}

// expiresWithin says that a key in use will end soon. That of a key whose whole life is no longer than the window is no news.
func (f keyFacts) expiresWithin(window time.Duration, state string, now time.Time) bool {
	switch state {
	case stateRevoked, stateExpired, stateSuspended:
		return false
	}
	left := f.expires.sub(instantOf(now))
	return f.expires != 0 && f.expires.sub(f.issued) > window && left > 0 && left <= window
}
