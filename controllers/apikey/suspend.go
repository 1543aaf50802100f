package apikey

import (
	"context"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
)

// suspend is the step that reports that a key does not work because its owner has requested that. Everything else about
// the key is kept ready.
type suspend struct{}

// Reconcile implements lifecycle.Step.
func (suspend) Reconcile(_ context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	if r.Key.Spec.State != keysv1alpha1.ApiKeySuspended {
		return lifecycle.Result{}, nil
	}
	return lifecycle.Result{Outcome: status.Requested(keysv1alpha1.ReasonSuspended,
		"The key is suspended: it is refused until spec.state is Active again.")}, nil
}
