package apikey

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// revoke ends a key for good: its Secret goes, and the object stays as the record of what it was. Verifiers refuse the key
// from when spec says so; this tidies up, and says when every one of them does.
type revoke struct {
	secrets   *secrets
	verifiers *verifiers
}

func (s *revoke) run(ctx context.Context, r *round) (*outcome, error) {
	if r.key.Spec.State != keysv1alpha1.ApiKeyRevoked && !r.is(keysv1alpha1.ConditionRevoked) {
		return nil, nil
	}
	progress, err := s.progress(ctx, r)
	if err != nil {
		return nil, err
	}
	if early := s.early(r, progress); early > 0 {
		return &outcome{untold: true, after: early}, nil
	}
	if err := s.unpublish(ctx, r.key); err != nil {
		return nil, err
	}
	r.key.Status.NextRotationTime = nil
	const message = "The key is revoked and can't come back."
	r.set(keysv1alpha1.ConditionRevoked, metav1.ConditionTrue, keysv1alpha1.ReasonRevoked, message)
	r.set(keysv1alpha1.ConditionPublished, metav1.ConditionFalse, keysv1alpha1.ReasonRevoked, unpublished(r.key))
	o := asked(keysv1alpha1.ReasonRevoked, message)
	s.confirm(r, progress, o)
	return o, nil
}

// progress returns how far the verifiers are with the revocation; nil once it is known that none can accept the key.
func (s *revoke) progress(ctx context.Context, r *round) (*progress, error) {
	if r.is(keysv1alpha1.ConditionRevocationEffective) {
		s.verifiers.forget(client.ObjectKeyFromObject(r.key))
		return nil, nil
	}
	progress, err := s.verifiers.progress(ctx, r.key, keysv1alpha1.ReasonRevoked)
	return &progress, err
}

// early returns for how long nothing is to be written of a revocation yet. Healthy verifiers refuse the key within
// milliseconds, and say so: that is written in the same patch, and the API server is left to tell them meanwhile.
func (s *revoke) early(r *round, p *progress) time.Duration {
	if p == nil || p.done() || reason(r.key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective) != "" {
		return 0
	}
	return verifierPromptness - s.verifiers.clock.Now().Sub(p.since)
}

// unpublish removes the key's Secret. Where the controller may not, the Secret stays, and with it its name in status. Once
// status says that it is gone, only one that shows up again is looked at.
func (s *revoke) unpublish(ctx context.Context, key *keysv1alpha1.ApiKey) error {
	gone := key.Status.SecretName == "" && reason(key.Status.Conditions, keysv1alpha1.ConditionPublished) == keysv1alpha1.ReasonRevoked
	if !s.secrets.serves(key.Namespace) || gone && s.secrets.unseen(ctx, client.ObjectKey{Namespace: key.Namespace, Name: secretName(key)}) {
		return nil
	}
	if name := key.Status.SecretName; name != "" {
		if err := s.secrets.remove(ctx, key, name); err != nil {
			return err
		}
	}
	// Between the Secret's creation and its record in status, the Secret is known by its name in spec only.
	if err := s.secrets.remove(ctx, key, secretName(key)); err != nil {
		return err
	}
	key.Status.SecretName, key.Status.Binding = "", nil
	return nil
}

func unpublished(key *keysv1alpha1.ApiKey) string {
	switch {
	case key.Spec.Digest != nil:
		return "The token was made elsewhere; there is no Secret."
	case key.Status.SecretName != "":
		return fmt.Sprintf("Secret %s is left, with a token that is refused: the controller may not remove it, because its --namespaces lacks this one.",
			key.Status.SecretName)
	default:
		return "The Secret is gone."
	}
}

// confirm says when no verifier can accept the key any more (S1): each has applied the revocation, or has been silent for
// so long that it refuses everything.
func (s *revoke) confirm(r *round, p *progress, o *outcome) {
	switch {
	case p == nil: // It has been said.
	case p.done():
		message := effective(*p, s.verifiers.clock.Now().Sub(p.since))
		r.set(keysv1alpha1.ConditionRevocationEffective, metav1.ConditionTrue, keysv1alpha1.ReasonRevoked, message)
	default:
		message := "Not every verifier has said that it refuses the key."
		if len(p.Behind) == 0 {
			message = fmt.Sprintf("Somebody replaced the verifiers' canary. A verifier that was taken off it may accept the key for up to %s.", p.Unknown)
		}
		r.set(keysv1alpha1.ConditionRevocationEffective, metav1.ConditionFalse, keysv1alpha1.ReasonWaitingForVerifiers, message)
		o.waiting, o.after = true, verifierPatience
	}
}

// effective says how many verifiers a revocation has come to, and how long it took from when the controller saw it.
func effective(p progress, took time.Duration) string {
	message := fmt.Sprintf("%d verifiers refuse the key", p.Applied)
	if p.Applied == 1 {
		message = "1 verifier refuses the key"
	}
	message += fmt.Sprintf(", known %s after the controller saw the revocation.", took.Round(time.Millisecond))
	if p.Closed > 0 {
		message += fmt.Sprintf(" Silent for so long that they refuse everything: %d.", p.Closed)
	}
	return message
}
