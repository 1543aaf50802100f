package apikey

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// round is one reconcile of one key. Steps change the key's status in memory; save writes it.
type round struct {
	key *keysv1alpha1.ApiKey
	// now is when the round began, in whole seconds, as the API server stores times.
	now metav1.Time
	// new says that nothing had been written of the key when the round began.
	new bool
	// facts are what it was admitted by, and tenant is the key's, once it has been.
	facts  facts
	tenant *keysv1alpha1.Tenant
	// wake is when to look at the key again though nothing may have changed; zero is never.
	wake time.Duration
	// held is set while the newest credential of a rotation has to wait for verifiers.
	held bool
	// published is set when the round has published a credential's token for the first time.
	published bool
	// save writes what has changed in status, with the resourceVersion that was read. Until it has returned without an
	// error, nobody else has seen the change.
	save func(context.Context) error
}

// isNew says that nothing has been written of a key yet.
func isNew(key *keysv1alpha1.ApiKey) bool {
	return len(key.Status.Conditions) == 0 && len(key.Status.Credentials) == 0
}

// newest is the credential that was announced last. There must be one.
func (r *round) newest() *keysv1alpha1.Credential {
	return &r.key.Status.Credentials[len(r.key.Status.Credentials)-1]
}

// previous is the credential that was announced before the newest, or nil.
func (r *round) previous() *keysv1alpha1.Credential {
	if len(r.key.Status.Credentials) < 2 {
		return nil
	}
	return &r.key.Status.Credentials[len(r.key.Status.Credentials)-2]
}

// current is the credential whose token belongs in the Secret: the newest, unless that has to wait.
func (r *round) current() *keysv1alpha1.Credential {
	if r.held {
		return r.previous()
	}
	return r.newest()
}

// wakeAt has the key looked at again at a time, or sooner.
func (r *round) wakeAt(t time.Time) {
	// A round's time is cut to whole seconds: one more, and that round is certain to see the time come.
	r.wakeAfter(max(t.Sub(r.now.Time), 0) + time.Second)
}

// wakeAfter has the key looked at again after a while, or sooner.
func (r *round) wakeAfter(d time.Duration) {
	if r.wake == 0 || d < r.wake {
		r.wake = d
	}
}

// step is one concern of a key's life. It returns nil for the next step to go on, or an outcome that ends the round. An
// error means that it could not be done now: it is tried again, and the conditions stay as they are.
type step interface {
	run(ctx context.Context, r *round) (*outcome, error)
}

// outcome is what a round came to: Ready and what goes with it.
type outcome struct {
	// ready is blank in a state that was asked for, in which the key does not work.
	ready   metav1.ConditionStatus
	reason  string
	message string
	// waiting is for what comes by itself, stalled for what a person has to mend. A state that was asked for is neither.
	waiting, stalled bool
	// untold is for what is not to be written yet: the next round comes to the same, or to more.
	untold bool
	// after is when to look again though nothing may have changed; zero is never.
	after time.Duration
}

// refused is a fault that only a person can mend. It is looked at again when something that it depends on changes.
func refused(reason, message string) *outcome {
	return &outcome{ready: metav1.ConditionFalse, reason: reason, message: message, stalled: true}
}

// waiting is for what will come by itself.
func waiting(reason, message string, after time.Duration) *outcome {
	return &outcome{ready: metav1.ConditionUnknown, reason: reason, message: message, waiting: true, after: after}
}

// asked is a state that was asked for, in which the key does not work.
func asked(reason, message string) *outcome {
	return &outcome{reason: reason, message: message}
}

// works is the outcome of a round that no step has ended.
func works() *outcome {
	return &outcome{ready: metav1.ConditionTrue, reason: keysv1alpha1.ReasonReady, message: "The key works."}
}
