package rollout

import (
	"context"
	"time"

	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
)

// Interval is the time after which verifiers that have not reported are looked at again. They report as soon as they
// have applied a change; only that one falls silent causes no event.
const Interval = 2 * time.Second

// Wait is the step that holds a token back until every live verifier has applied its announcement, so that nobody can
// read a token that a verifier would refuse (S8).
type Wait struct {
	Verifiers *Verifiers
}

// Reconcile implements lifecycle.Step.
func (s *Wait) Reconcile(ctx context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	if r.Newest().PublishedTime != nil {
		s.Verifiers.ForgetAnnouncement(r.Key)
		return lifecycle.Result{}, nil
	}
	applied, err := s.Verifiers.Applied(ctx, r.Key, r.Newest().Digest)
	if err != nil || applied {
		return lifecycle.Result{}, err
	}
	if previous := r.Previous(); previous != nil && previous.PublishedTime != nil {
		// A rotation: the key goes on with the token that it has. A previous token that was never published may be as
		// unknown to verifiers as the newest one.
		r.Withheld = true
		return lifecycle.Result{RequeueAfter: Interval}, nil
	}
	return lifecycle.Result{Outcome: lifecycle.Announced(), RequeueAfter: Interval}, nil
}
