package apikey

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// revoke ends a key for good: its Secret goes, and the object stays as the record of what it was. Verifiers refuse the key
// from when spec says so; this only tidies up.
type revoke struct {
	secrets *secrets
}

func (s *revoke) run(ctx context.Context, r *round) (*outcome, error) {
	if r.key.Spec.State != keysv1alpha1.ApiKeyRevoked && !r.is(keysv1alpha1.ConditionRevoked) {
		return nil, nil
	}
	if name := r.key.Status.SecretName; name != "" {
		if err := s.secrets.remove(ctx, r.key, name); err != nil {
			return nil, err
		}
	}
	// Between the Secret's creation and its record in status, the Secret is known by its name in spec only.
	if err := s.secrets.remove(ctx, r.key, secretName(r.key)); err != nil {
		return nil, err
	}
	r.key.Status.SecretName = ""
	r.key.Status.Binding = nil
	r.key.Status.NextRotationTime = nil
	const message = "The key is revoked and can't come back."
	r.set(keysv1alpha1.ConditionRevoked, metav1.ConditionTrue, keysv1alpha1.ReasonRevoked, message)
	r.set(keysv1alpha1.ConditionPublished, metav1.ConditionFalse, keysv1alpha1.ReasonRevoked, "The Secret is gone.")
	return asked(keysv1alpha1.ReasonRevoked, message), nil
}
