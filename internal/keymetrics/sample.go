package keymetrics

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

// state is the state of a key and the reason of the condition that says so. Reasons are constants of the API's package,
// so there are few states.
type state struct {
	name, reason string
}

// keySample is what is kept of a key.
type keySample struct {
	// state is the number of the key's state: its strings would take as much memory as all the rest.
	state uint16
	// issued is zero if the key is not issued, and expires if it never expires.
	issued, expires instant
	// waitingSince is zero if the key waits for nothing.
	waitingSince instant
	// behind reports whether the controller has not seen the key's spec as it is.
	behind bool
}

// states numbers the states that keys have been in.
type states []state

// number returns the number of a state. A new state gets one.
func (v *states) number(of state) uint16 {
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

// sampleOf returns the sample of a key. An object does not say when its spec was changed: if the controller is behind,
// the key has waited since that was first seen.
func sampleOf(key *keysv1alpha1.ApiKey, before keySample, now time.Time) keySample {
	sample := keySample{behind: !keystate.Observed(key)}
	if expires, ok := keystate.Expires(key); ok && key.Status.IssuedTime != nil {
		sample.issued, sample.expires = instantOf(key.Status.IssuedTime.Time), instantOf(expires)
	}
	reconciling := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionReconciling)
	switch {
	case len(key.Status.Conditions) == 0:
		sample.waitingSince = instantOf(key.CreationTimestamp.Time)
	case reconciling != nil && reconciling.Status == metav1.ConditionTrue:
		sample.waitingSince = instantOf(reconciling.LastTransitionTime.Time)
	case sample.behind && before.behind:
		sample.waitingSince = before.waitingSince
	case sample.behind:
		sample.waitingSince = instantOf(now)
	}
	return sample
}

// stateNames has the names of states by the condition that tells the outcome.
var stateNames = map[string]string{
	keysv1alpha1.ConditionRevoked:   stateRevoked,
	keysv1alpha1.ConditionExpired:   stateExpired,
	keysv1alpha1.ConditionSuspended: stateSuspended,
	keysv1alpha1.ConditionStalled:   stateStalled,
}

// stateOf returns the state of a key: what the controller has last found out about it.
func stateOf(key *keysv1alpha1.ApiKey) state {
	switch outcome := keystate.Outcome(key.Status.Conditions); {
	case outcome == nil:
		return state{name: stateWaiting}
	case outcome.Type != keysv1alpha1.ConditionReady:
		return state{stateNames[outcome.Type], outcome.Reason}
	case outcome.Status == metav1.ConditionTrue:
		return state{stateReady, outcome.Reason}
	default:
		return state{stateWaiting, outcome.Reason}
	}
}

// expiresWithin reports whether a key in use will expire within a window. A key whose whole life is no longer than the
// window does not count.
func (f keySample) expiresWithin(window time.Duration, name string, now time.Time) bool {
	switch name {
	case stateRevoked, stateExpired, stateSuspended:
		return false
	}
	left := f.expires.sub(instantOf(now))
	return f.expires != 0 && f.expires.sub(f.issued) > window && left > 0 && left <= window
}
