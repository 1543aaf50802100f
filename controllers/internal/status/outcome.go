package status

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Outcome is what a reconciliation has found out about an object as a whole. Conclude turns it into Ready and the
// conditions that accompany Ready.
type Outcome struct {
	// Ready is the status of the condition Ready. It is empty in a state that the user has requested and in which the
	// object does not work.
	Ready   metav1.ConditionStatus
	Reason  string
	Message string
	// Reconciling reports whether the object will make progress without anybody's help, and Stalled whether a person has
	// to fix something first.
	Reconciling, Stalled bool
}

// Ready is the outcome for an object that works.
func Ready(reason, message string) *Outcome {
	return &Outcome{Ready: metav1.ConditionTrue, Reason: reason, Message: message}
}

// Waiting is the outcome for an object that will work without anybody's help. Ready is Unknown rather than False,
// because Argo CD shows False as degraded.
func Waiting(reason, message string) *Outcome {
	return &Outcome{Ready: metav1.ConditionUnknown, Reason: reason, Message: message, Reconciling: true}
}

// Stalled is the outcome for an object with a fault that only a person can fix.
func Stalled(reason, message string) *Outcome {
	return &Outcome{Ready: metav1.ConditionFalse, Reason: reason, Message: message, Stalled: true}
}

// Requested is the outcome for an object in a state that the user has requested and in which it does not work, such as
// Suspended. There is no Ready, because kstatus would wait for it to become True.
func Requested(reason, message string) *Outcome {
	return &Outcome{Reason: reason, Message: message}
}

// Conclude sets Ready, Suspended, Reconciling and Stalled, and the generation that they are about. It is the only
// function that does. The last three are present only while they are True, as kstatus expects.
func (c Conditions) Conclude(o *Outcome) {
	*c.observed = c.generation
	if o.Ready != "" {
		c.set(keysv1alpha1.ConditionReady, o.Ready, o.Reason, o.Message)
	} else {
		c.Clear(keysv1alpha1.ConditionReady)
	}
	c.toggle(keysv1alpha1.ConditionSuspended, o.Ready == "" && o.Reason == keysv1alpha1.ReasonSuspended, o)
	c.toggle(keysv1alpha1.ConditionReconciling, o.Reconciling, o)
	c.toggle(keysv1alpha1.ConditionStalled, o.Stalled, o)
}

func (c Conditions) toggle(conditionType string, on bool, o *Outcome) {
	if on {
		c.SetTrue(conditionType, o.Reason, o.Message)
		return
	}
	c.Clear(conditionType)
}
