package apikey

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// report says in an event and in the log what a reconciliation has changed, with the reason of the condition that has
// changed. It does not repeat what has not changed.
func (c *Controller) report(
	ctx context.Context, key *keysv1alpha1.ApiKey, before *keysv1alpha1.ApiKeyStatus, o *status.Outcome,
) {
	changed := outcomeReason(before.Conditions) != o.Reason
	published := newlyPublished(before, &key.Status)
	if changed || published {
		log.FromContext(ctx).Info("Key changed", "ready", o.Ready, "reason", o.Reason, "published", published)
	}
	if published {
		// Publishing usually makes the key Ready, which needs no event of its own.
		c.recordCondition(key, corev1.EventTypeNormal, keysv1alpha1.ConditionPublished)
		changed = changed && o.Ready != metav1.ConditionTrue
	}
	if changed && o.Ready != metav1.ConditionUnknown {
		eventType := corev1.EventTypeNormal
		if o.Stalled {
			eventType = corev1.EventTypeWarning
		}
		c.recorder.Eventf(key, nil, eventType, o.Reason, "Reconcile", "%s", printable.Note(o.Message))
	}
	if warning := expiryWarning(key.Status.Conditions); warning != "" && warning != expiryWarning(before.Conditions) {
		c.recordCondition(key, corev1.EventTypeWarning, keysv1alpha1.ConditionExpired)
	}
}

// recordCondition records an event with the reason and the message of a condition.
func (c *Controller) recordCondition(key *keysv1alpha1.ApiKey, eventType, conditionType string) {
	if condition := apimeta.FindStatusCondition(key.Status.Conditions, conditionType); condition != nil {
		c.recorder.Eventf(key, nil, eventType, condition.Reason, "Reconcile", "%s", printable.Note(condition.Message))
	}
}

// newlyPublished reports whether a credential has been published that had not been before.
func newlyPublished(before, after *keysv1alpha1.ApiKeyStatus) bool {
	had := map[string]bool{}
	for i := range before.Credentials {
		had[before.Credentials[i].ID] = before.Credentials[i].PublishedTime != nil
	}
	for i := range after.Credentials {
		if after.Credentials[i].PublishedTime != nil && !had[after.Credentials[i].ID] {
			return true
		}
	}
	return false
}

// expiryWarning returns the warning of a key's expiry, or "". Each window has a warning of its own.
func expiryWarning(conditions []metav1.Condition) string {
	condition := apimeta.FindStatusCondition(conditions, keysv1alpha1.ConditionExpired)
	if condition == nil || condition.Reason != keysv1alpha1.ReasonExpiringSoon {
		return ""
	}
	return condition.Message
}

// outcomeReason returns the reason of the outcome that conditions report, or "" if they report none.
func outcomeReason(conditions []metav1.Condition) string {
	if outcome := keystate.Outcome(conditions); outcome != nil {
		return outcome.Reason
	}
	return ""
}
