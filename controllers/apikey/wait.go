package apikey

import (
	"context"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// verifierPatience is how long until verifiers are looked at again that have said nothing. They are expected to speak up
// as soon as they have come further; only their falling silent is seen by no event.
const verifierPatience = 2 * time.Second

// verifierPromptness is how long verifiers are given to apply a change before it is written down that they are waited for. It is
// as long as they gather changes at most, where many come at a time.
const verifierPromptness = 250 * time.Millisecond

// learning is the message of a key that verifiers are learning. It names no numbers, so that waiting needs no writes.
const learning = "Verifiers are learning the key."

// wait holds a token back until every live verifier has applied its announcement, so that nobody can read a token that a
// verifier would refuse (S8).
type wait struct {
	verifiers *verifiers
}

func (s *wait) run(ctx context.Context, r *round) (*outcome, error) {
	if r.newest().PublishedTime != nil {
		s.verifiers.forgetKnown(r.key)
		return nil, nil
	}
	known, err := s.verifiers.know(ctx, r.key, r.newest().Digest)
	if err != nil || known {
		return nil, err
	}
	if previous := r.previous(); previous != nil && previous.PublishedTime != nil {
		// A rotation: the key works on with the token that it has. One that was never published may be as unknown to
		// verifiers as the newest is.
		r.held = true
		r.wakeAfter(verifierPatience)
		return nil, nil
	}
	return waiting(keysv1alpha1.ReasonAnnounced, learning, verifierPatience), nil
}
