package apikey

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// set records a fact about the key as a condition.
func (r *round) set(conditionType string, status metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(&r.key.Status.Conditions, metav1.Condition{
		Type:               conditionType,
		Status:             status,
		ObservedGeneration: r.key.Generation,
		LastTransitionTime: r.now,
		Reason:             reason,
		Message:            message,
	})
}

// is says whether a condition is True.
func (r *round) is(conditionType string) bool {
	return apimeta.IsStatusConditionTrue(r.key.Status.Conditions, conditionType)
}

// conclude is the one place where Ready, Suspended, Reconciling and Stalled are set. The last three are there only while
// they are true, as kstatus has it; and Ready is Unknown rather than False while waiting, because Argo CD reads False as
// degraded. In a state that was asked for there is no Ready: kstatus would wait for it to be True.
func (r *round) conclude(o *outcome) {
	if o.ready != "" {
		r.set(keysv1alpha1.ConditionReady, o.ready, o.reason, o.message)
	} else {
		r.unset(keysv1alpha1.ConditionReady)
	}
	r.toggle(keysv1alpha1.ConditionSuspended, o.reason == keysv1alpha1.ReasonSuspended, o)
	r.toggle(keysv1alpha1.ConditionReconciling, o.waiting, o)
	r.toggle(keysv1alpha1.ConditionStalled, o.stalled, o)
	r.key.Status.ObservedGeneration = r.key.Generation
}

func (r *round) toggle(conditionType string, on bool, o *outcome) {
	if on {
		r.set(conditionType, metav1.ConditionTrue, o.reason, o.message)
		return
	}
	r.unset(conditionType)
}

// unset takes a condition away. What has none, as most, is not copied, which RemoveStatusCondition does in any case.
func (r *round) unset(conditionType string) {
	if apimeta.FindStatusCondition(r.key.Status.Conditions, conditionType) != nil {
		apimeta.RemoveStatusCondition(&r.key.Status.Conditions, conditionType)
	}
}
