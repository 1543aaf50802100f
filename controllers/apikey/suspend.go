package apikey

import (
	"context"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// suspend says that a key does not work because that was asked for. Everything else about it is kept ready.
type suspend struct{}

func (suspend) run(_ context.Context, r *round) (*outcome, error) {
	if r.key.Spec.State != keysv1alpha1.ApiKeySuspended {
		return nil, nil
	}
	return asked(keysv1alpha1.ReasonSuspended, "The key is suspended: it is refused until spec.state is Active again."), nil
}
