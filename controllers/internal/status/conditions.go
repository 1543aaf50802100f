// Package status writes the status of ApiKeys, Tenants and AccessPolicies: their conditions, and the patch that stores
// them. The three controllers use nothing else for it, so that a condition means the same on each kind and a conflict
// is handled the same way by each controller.
//
//	steps ─ SetTrue, SetFalse, Clear ─┐
//	Outcome ───────────── Conclude ───┴─ conditions ─ Patch ─ API server
//	                                                    └ conflict ─ Retry
package status

import (
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Conditions reads and writes the conditions of one object during one reconciliation.
type Conditions struct {
	list       *[]metav1.Condition
	observed   *int64
	generation int64
	now        metav1.Time
}

// Of returns the conditions in a list. Those that it sets carry the generation of the object that is reconciled and,
// where their status changes, the time. Conclude writes that generation to observed, the status.observedGeneration of
// the object.
func Of(list *[]metav1.Condition, observed *int64, generation int64, now metav1.Time) Conditions {
	return Conditions{list: list, observed: observed, generation: generation, now: now}
}

// SetTrue sets a condition to True.
func (c Conditions) SetTrue(conditionType, reason, message string) {
	c.set(conditionType, metav1.ConditionTrue, reason, message)
}

// SetFalse sets a condition to False.
func (c Conditions) SetFalse(conditionType, reason, message string) {
	c.set(conditionType, metav1.ConditionFalse, reason, message)
}

func (c Conditions) set(conditionType string, status metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(c.list, metav1.Condition{
		Type:               conditionType,
		Status:             status,
		ObservedGeneration: c.generation,
		LastTransitionTime: c.now,
		Reason:             reason,
		Message:            message,
	})
}

// Clear removes a condition. It looks first, because RemoveStatusCondition copies the list even if there is nothing to
// remove.
func (c Conditions) Clear(conditionType string) {
	if apimeta.FindStatusCondition(*c.list, conditionType) != nil {
		apimeta.RemoveStatusCondition(c.list, conditionType)
	}
}

// Get returns a condition, or nil.
func (c Conditions) Get(conditionType string) *metav1.Condition {
	return apimeta.FindStatusCondition(*c.list, conditionType)
}

// IsTrue reports whether a condition is True.
func (c Conditions) IsTrue(conditionType string) bool {
	return apimeta.IsStatusConditionTrue(*c.list, conditionType)
}

// Reason returns the reason of a condition, or "" if there is no such condition.
func (c Conditions) Reason(conditionType string) string {
	if condition := c.Get(conditionType); condition != nil {
		return condition.Reason
	}
	return ""
}
