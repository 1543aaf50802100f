package status

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// retryAfter is the time after which a reconciliation is repeated that somebody else's write has overtaken.
const retryAfter = 100 * time.Millisecond

// Patch writes what has changed in an object's status, and reports whether that was anything. It carries the
// resourceVersion that was read, so it fails with a conflict if anything about the object has changed since.
func Patch(ctx context.Context, c client.Client, stored, object client.Object) (written bool, err error) {
	if equality.Semantic.DeepEqual(stored, object) {
		return false, nil // L4: without this line, every reconciliation writes.
	}
	patch := client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{})
	if err := c.Status().Patch(ctx, object, patch); err != nil {
		return false, err
	}
	return true, nil
}

// Retry returns the result of a reconciliation that has ended with an error. A conflict is no fault: it is tried again
// soon. An object that is gone needs nothing more.
func Retry(ctx context.Context, err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		log.FromContext(ctx).V(1).Info("Overtaken, trying again", "conflict", err.Error())
		return reconcile.Result{RequeueAfter: retryAfter}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}
