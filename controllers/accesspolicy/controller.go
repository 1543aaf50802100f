// Package accesspolicy reports in an AccessPolicy's status whether every one of its rules is in effect.
//
// Verifiers read spec alone, and compile it with or without this controller. Only internal/access decides which of two
// conflicting rules is in effect: this package reports what that package has decided.
package accesspolicy

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// Controller reconciles AccessPolicies.
type Controller struct {
	client   client.Client
	recorder events.EventRecorder
	clock    clock.PassiveClock
}

// NewController returns a controller that is ready to reconcile.
func NewController(c client.Client, recorder events.EventRecorder, clk clock.PassiveClock) *Controller {
	return &Controller{client: c, recorder: recorder, clock: clk}
}

// Register adds the controller to a manager.
func (c *Controller) Register(m manager.Manager) error {
	return builder.ControllerManagedBy(m).
		Named("accesspolicy").
		For(&keysv1alpha1.AccessPolicy{}).
		Watches(&keysv1alpha1.AccessPolicy{}, handler.EnqueueRequestsFromMapFunc(c.neighbours),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(reconcile.AsReconciler(m.GetClient(), c))
}

// Reconcile brings one policy's status up to date.
func (c *Controller) Reconcile(ctx context.Context, policy *keysv1alpha1.AccessPolicy) (reconcile.Result, error) {
	if policy.DeletionTimestamp != nil {
		return reconcile.Result{}, nil // It stays in effect until it is gone. Then its neighbours are reconciled.
	}
	return status.Retry(ctx, c.bringUpToDate(ctx, policy))
}

func (c *Controller) bringUpToDate(ctx context.Context, policy *keysv1alpha1.AccessPolicy) error {
	policies := &keysv1alpha1.AccessPolicyList{}
	if err := c.client.List(ctx, policies); err != nil {
		return fmt.Errorf("listing access policies: %w", err)
	}
	stored := policy.DeepCopy()
	conditions, observed := &policy.Status.Conditions, &policy.Status.ObservedGeneration
	status.Of(conditions, observed, policy.Generation, metav1.NewTime(c.clock.Now())).
		Conclude(decide(policy, policies.Items))
	policy.Status.Rules = new(int32(len(policy.Spec.Rules))) //nolint:gosec // The schema admits 256.
	written, err := status.Patch(ctx, c.client, stored, policy)
	if err != nil {
		return fmt.Errorf("writing the policy's status: %w", err)
	}
	if written {
		c.report(ctx, stored, policy)
	}
	return nil
}

// report says in an event and in the log what has changed: a fault, each with its own message, and that a fault is
// gone. A policy without a fault from the start needs no event.
func (c *Controller) report(ctx context.Context, before, after *keysv1alpha1.AccessPolicy) {
	was := apimeta.FindStatusCondition(before.Status.Conditions, keysv1alpha1.ConditionReady)
	is := apimeta.FindStatusCondition(after.Status.Conditions, keysv1alpha1.ConditionReady)
	if was != nil && was.Reason == is.Reason && was.Message == is.Message {
		return
	}
	log.FromContext(ctx).Info("Policy changed", "ready", is.Status, "reason", is.Reason)
	switch {
	case is.Status == metav1.ConditionFalse:
		c.recorder.Eventf(after, nil, corev1.EventTypeWarning, is.Reason, "Reconcile", "%s", printable.Note(is.Message))
	case was != nil:
		c.recorder.Eventf(after, nil, corev1.EventTypeNormal, is.Reason, "Reconcile", "%s", printable.Note(is.Message))
	}
}

// neighbours returns the other policies that have a host in common with a changed one.
func (c *Controller) neighbours(ctx context.Context, object client.Object) []reconcile.Request {
	changed, ok := object.(*keysv1alpha1.AccessPolicy)
	if !ok {
		return nil
	}
	policies := &keysv1alpha1.AccessPolicyList{}
	if err := c.client.List(ctx, policies); err != nil {
		return nil // The cache has stopped, and so will the controller.
	}
	var requests []reconcile.Request
	for i := range policies.Items {
		if other := &policies.Items[i]; other.Name != changed.Name && shareHost(other, changed) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(other)})
		}
	}
	return requests
}
