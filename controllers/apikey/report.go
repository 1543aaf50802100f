package apikey

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// report says what a round has changed, in an event and in the log, under the reason of the condition that has changed.
// What has not changed is not said again.
func (c *Controller) report(ctx context.Context, r *round, before *keysv1alpha1.ApiKeyStatus, o *outcome) {
	news := verdict(before.Conditions) != o.reason
	if news || r.published {
		log.FromContext(ctx).Info("Key changed", "ready", o.ready, "reason", o.reason, "published", r.published)
	}
	if r.published {
		// It is Ready by that as a rule, which needs no event of its own.
		c.tell(r, corev1.EventTypeNormal, keysv1alpha1.ConditionPublished)
		news = news && o.ready != metav1.ConditionTrue
	}
	if news && o.ready != metav1.ConditionUnknown {
		eventType := corev1.EventTypeNormal
		if o.stalled {
			eventType = corev1.EventTypeWarning
		}
		c.recorder.Eventf(r.key, nil, eventType, o.reason, "Reconcile", "%s", printable.Note(o.message))
	}
	if warned(r.key.Status.Conditions) != "" && warned(r.key.Status.Conditions) != warned(before.Conditions) {
		c.tell(r, corev1.EventTypeWarning, keysv1alpha1.ConditionExpired)
	}
}

// tell records an event that says what a condition says.
func (c *Controller) tell(r *round, eventType, conditionType string) {
	if condition := apimeta.FindStatusCondition(r.key.Status.Conditions, conditionType); condition != nil {
		c.recorder.Eventf(r.key, nil, eventType, condition.Reason, "Reconcile", "%s", printable.Note(condition.Message))
	}
}

// warned returns the warning of a key's end, if there is one. Each window has its own.
func warned(conditions []metav1.Condition) string {
	if condition := apimeta.FindStatusCondition(conditions, keysv1alpha1.ConditionExpired); condition != nil &&
		condition.Reason == keysv1alpha1.ReasonExpiringSoon {
		return condition.Message
	}
	return ""
}

// verdict returns the reason of the outcome that conditions tell of, "" where there was none.
func verdict(conditions []metav1.Condition) string {
	for _, asked := range []string{keysv1alpha1.ConditionRevoked, keysv1alpha1.ConditionExpired, keysv1alpha1.ConditionSuspended} {
		if apimeta.IsStatusConditionTrue(conditions, asked) {
			return reason(conditions, asked)
		}
	}
	return reason(conditions, keysv1alpha1.ConditionReady)
}

func reason(conditions []metav1.Condition, conditionType string) string {
	if condition := apimeta.FindStatusCondition(conditions, conditionType); condition != nil {
		return condition.Reason
	}
	return ""
}
