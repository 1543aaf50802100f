package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// Announcements remembers which announcements of keys verifiers have applied.
type Announcements interface {
	// ForgetAnnouncement forgets what is remembered of a key: verifiers have to learn it once more.
	ForgetAnnouncement(key *keysv1alpha1.ApiKey)
}

// Admit is the step that decides whether a key may have what it asks for, and writes the grant. A key that was admitted
// before keeps its grant when it asks for something that it may not have; verifiers apply the narrower of the two.
type Admit struct {
	Gatherer      *Gatherer
	Announcements Announcements
}

// Reconcile implements lifecycle.Step.
func (s *Admit) Reconcile(ctx context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	in, err := s.Gatherer.Gather(ctx, r.Key)
	if err != nil {
		return lifecycle.Result{}, err
	}
	tenant, refusal := Decide(in)
	r.Admission = lifecycle.Admission{Tenant: tenant, Refusal: refusal}
	if refusal != nil {
		r.Conditions().SetFalse(keysv1alpha1.ConditionAdmitted, refusal.Reason, refusal.Message)
		return lifecycle.Result{}, nil
	}
	return lifecycle.Result{}, s.admit(ctx, r)
}

// admit writes that a key is admitted, and its grant.
func (s *Admit) admit(ctx context.Context, r *lifecycle.Reconciliation) error {
	refusedBefore, withdrawnBefore := keystate.NeverIssued(r.Key), keystate.Withdrawn(r.Key)
	tenant := r.Admission.Tenant
	r.Conditions().SetTrue(keysv1alpha1.ConditionAdmitted, keysv1alpha1.ReasonAdmitted,
		fmt.Sprintf("Tenant %s grants the scopes and the expiry.", tenant.Name))
	if refusedBefore {
		// Before it takes a place: a key that is refused gives its place back (S3).
		if err := r.Save(ctx); err != nil {
			return err
		}
	}
	grant(r.Key, tenant)
	if withdrawnBefore {
		// Verifiers refuse the key until they have learned this too: before its token can be read, if it never could be
		// (S8).
		s.Announcements.ForgetAnnouncement(r.Key)
		return r.Save(ctx)
	}
	return nil
}

// grant writes what the key is granted. Its expiry counts from its issue.
func grant(key *keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant) {
	key.Status.TenantID = strings.ToLower(tenant.Spec.ID)
	key.Status.Scopes = slices.Clone(key.Spec.Scopes)
	key.Status.AllowedCIDRs = slices.Clone(key.Spec.AllowedCIDRs)
	if key.Status.IssuedTime != nil {
		lifecycle.SetExpiry(key)
	}
}
