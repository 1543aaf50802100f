// Package quota takes a place for a key in its tenant's ledger (Tenant.status.activeKeys), so that in every
// interleaving of two controllers a tenant has at most maxKeys active keys (S3). The rule itself is in internal/ledger;
// the tenant controller gives places back.
package quota

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/internal/ledger"
)

// Candidates returns the other keys of a key's namespace that are new and would be admitted to the same tenant, the
// oldest first, and no more than limit of them.
type Candidates func(
	ctx context.Context, key *keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant, limit int,
) ([]*keysv1alpha1.ApiKey, error)

// Reserve is the step that takes a place for a key, before anything of it is announced. In the same write it takes
// places for the keys of the namespace that will need one next.
//
// A new key that has a place needs no other. Only a key that is finished or refused, according to the API server, gives
// its place back, and no such key is announced as new: its status would have changed since it was read.
type Reserve struct {
	ledgers    *ledgers
	candidates Candidates
	queue      *Queue
}

// NewReserve returns the step.
func NewReserve(
	writer client.Client, live client.Reader, clk clock.PassiveClock, candidates Candidates, queue *Queue,
) *Reserve {
	return &Reserve{ledgers: newLedgers(writer, live, clk, queue), candidates: candidates, queue: queue}
}

// Reconcile implements lifecycle.Step.
func (s *Reserve) Reconcile(ctx context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	tenant, uid := r.Admission.Tenant, string(r.Key.UID)
	issued := len(r.Key.Status.Credentials) > 0
	if issued && ledger.Holds(tenant, uid) || r.New && ledger.Holds(s.ledgers.latest(tenant), uid) {
		return lifecycle.Result{}, nil
	}
	others, err := s.others(ctx, r)
	if err != nil {
		return lifecycle.Result{}, err
	}
	err = s.ledgers.reserve(ctx, tenant, s.ledgers.reservationFor(r.Key, issued, r.New), others)
	if full := (*ledger.FullError)(nil); errors.As(err, &full) {
		ungrant(r.Key)
		return s.full(ctx, r.Key, full), nil
	}
	return lifecycle.Result{}, err
}

// others returns reservations for the other new keys of a key's namespace, if the key is new itself. Anybody may create
// any number of keys, so no more of them are looked at than there are places. A key that is refused after all gives its
// place back.
func (s *Reserve) others(ctx context.Context, r *lifecycle.Reconciliation) (others []*reservation, err error) {
	tenant := s.ledgers.latest(r.Admission.Tenant)
	free := ledger.Max(tenant) - len(tenant.Status.ActiveKeys)
	if !r.New || free <= 0 {
		return nil, nil
	}
	candidates, err := s.candidates(ctx, r.Key, r.Admission.Tenant, free)
	if err != nil {
		return nil, fmt.Errorf("finding the namespace's other new keys: %w", err)
	}
	for _, key := range candidates {
		others = append(others, s.ledgers.reservationFor(key, false, true))
	}
	return others, nil
}

// ungrant removes the grant of a key that is not issued after all, so that the key is not tied to the tenant.
func ungrant(key *keysv1alpha1.ApiKey) {
	key.Status.TenantID, key.Status.Scopes, key.Status.AllowedCIDRs = "", nil, nil
}

// sentence writes an error as conditions are written.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
