package credentials

import (
	"context"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
)

// Announce is the step that gives a key its first credential. Verifiers learn the digest from here, before anybody can
// read the token. Once it is written the id never changes, so every later reconciliation, by whichever controller,
// derives the same token (S4).
type Announce struct {
	Mint *Mint
}

// Reconcile implements lifecycle.Step.
func (s *Announce) Reconcile(ctx context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	status := &r.Key.Status
	if len(status.Credentials) > 0 {
		return lifecycle.Result{}, nil
	}
	credential, prefix, err := s.Mint.credential(ctx, r)
	if err != nil {
		return lifecycle.Result{}, err
	}
	status.Credentials = []keysv1alpha1.Credential{credential}
	status.Prefix = prefix
	status.IssuedTime = r.Now.DeepCopy()
	// A key that is created with the annotation, such as a copy of another key, does not ask for a second token.
	status.LastHandledRotateAt = rotateRequest(r.Key)
	lifecycle.SetExpiry(r.Key)
	setNotExpired(r)
	r.Conditions().Conclude(lifecycle.Announced())
	return lifecycle.Result{}, r.Save(ctx)
}
