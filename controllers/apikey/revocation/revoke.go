// Package revocation ends a key permanently. Verifiers refuse the key from the moment that spec says so; this package
// removes what is left of it, and reports when every verifier refuses it (S1).
package revocation

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/publication"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/rollout"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// writeDelay is how long verifiers have to apply a revocation before the controller writes anything about it. It is the
// longest time for which they gather changes when many arrive at once.
const writeDelay = 250 * time.Millisecond

const revokedMessage = "The key is revoked and can't come back."

// Revoke is the step that ends a revoked key: it deletes the Secret. The object stays as a record of the key.
type Revoke struct {
	Secrets   *publication.Store
	Verifiers *rollout.Verifiers
}

// Reconcile implements lifecycle.Step.
func (s *Revoke) Reconcile(ctx context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	if !keystate.Revoked(r.Key) {
		return lifecycle.Result{}, nil
	}
	progress, err := s.progress(ctx, r)
	if err != nil {
		return lifecycle.Result{}, err
	}
	if delay := delayOf(r, progress); delay > 0 {
		return lifecycle.Result{Deferred: true, RequeueAfter: delay}, nil
	}
	published := r.Conditions().Reason(keysv1alpha1.ConditionPublished)
	recordedGone := r.Key.Status.SecretName == "" && published == keysv1alpha1.ReasonRevoked
	gone, err := s.Secrets.Unpublish(ctx, r.Key, recordedGone)
	if err != nil {
		return lifecycle.Result{}, err
	}
	if gone {
		r.Key.Status.SecretName, r.Key.Status.Binding = "", nil
	}
	r.Key.Status.NextRotationTime = nil
	r.Conditions().SetTrue(keysv1alpha1.ConditionRevoked, keysv1alpha1.ReasonRevoked, revokedMessage)
	r.Conditions().SetFalse(keysv1alpha1.ConditionPublished, keysv1alpha1.ReasonRevoked, unpublishedMessage(r.Key))
	return confirm(r, progress), nil
}

// progress returns how far the verifiers are with the revocation, or nil once it is known that none of them can accept
// the key.
func (s *Revoke) progress(ctx context.Context, r *lifecycle.Reconciliation) (*rollout.Progress, error) {
	if r.Conditions().IsTrue(keysv1alpha1.ConditionRevocationEffective) {
		s.Verifiers.Forget(client.ObjectKeyFromObject(r.Key))
		return nil, nil
	}
	progress, err := s.Verifiers.Progress(ctx, r.Key, keysv1alpha1.ReasonRevoked)
	return &progress, err
}

// delayOf returns how long the controller still writes nothing about a revocation. Healthy verifiers refuse the key
// within milliseconds and report it. Then a single patch says everything, and until then the API server is free to
// notify verifiers.
func delayOf(r *lifecycle.Reconciliation, p *rollout.Progress) time.Duration {
	if p == nil || p.Done() || r.Conditions().Get(keysv1alpha1.ConditionRevocationEffective) != nil {
		return 0
	}
	return writeDelay - p.Waited
}

func unpublishedMessage(key *keysv1alpha1.ApiKey) string {
	switch {
	case key.Spec.Digest != nil:
		return "The token was made elsewhere; there is no Secret."
	case key.Status.SecretName != "":
		return fmt.Sprintf("Secret %s is left, with a token that is refused: the controller may not remove it, "+
			"because its --namespaces lacks this one.", key.Status.SecretName)
	default:
		return "The Secret is gone."
	}
}

// confirm records whether any verifier can still accept the key (S1): each has applied the revocation, or has been
// silent for so long that it refuses everything.
func confirm(r *lifecycle.Reconciliation, p *rollout.Progress) lifecycle.Result {
	result := lifecycle.Result{Outcome: status.Requested(keysv1alpha1.ReasonRevoked, revokedMessage)}
	conditions := r.Conditions()
	switch {
	case p == nil: // It is recorded already.
	case p.Done():
		conditions.SetTrue(keysv1alpha1.ConditionRevocationEffective, keysv1alpha1.ReasonRevoked, effectiveMessage(p))
	default:
		message := "Not every verifier has said that it refuses the key."
		if len(p.Behind) == 0 {
			message = fmt.Sprintf("Somebody replaced the verifiers' canary. "+
				"A verifier that was taken off it may accept the key for up to %s.", p.Unknown)
		}
		conditions.SetFalse(keysv1alpha1.ConditionRevocationEffective, keysv1alpha1.ReasonWaitingForVerifiers, message)
		result.Outcome.Reconciling, result.RequeueAfter = true, rollout.Interval
	}
	return result
}

// effectiveMessage says how many verifiers refuse the key, and how long after it saw the revocation the controller knew
// that.
func effectiveMessage(p *rollout.Progress) string {
	message := fmt.Sprintf("%d verifiers refuse the key", p.Applied)
	if p.Applied == 1 {
		message = "1 verifier refuses the key"
	}
	message += fmt.Sprintf(", known %s after the controller saw the revocation.", p.Waited.Round(time.Millisecond))
	if p.Closed > 0 {
		message += fmt.Sprintf(" Silent for so long that they refuse everything: %d.", p.Closed)
	}
	return message
}
