package apikey

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/ledger"
)

// reserve takes a place in the tenant's ledger before anything is announced, so that in every interleaving of two
// controllers a tenant has at most maxKeys active keys.
type reserve struct {
	client client.Client
	// live reads past the cache, for when the cache has been overtaken.
	live  client.Reader
	clock clock.PassiveClock
}

// attempts is how often a reservation that others get in the way of is tried again at once.
const attempts = 5

func (s *reserve) run(ctx context.Context, r *round) (*outcome, error) {
	issued := len(r.key.Status.Credentials) > 0
	reserved := metav1.NewMicroTime(s.clock.Now())
	place := keysv1alpha1.ActiveKey{UID: string(r.key.UID), Namespace: r.key.Namespace, Name: r.key.Name, ReservedTime: &reserved}
	tenant := r.tenant
	for attempt := 1; ; attempt++ {
		tenant = tenant.DeepCopy()
		changed, err := ledger.Reserve(tenant, place, issued)
		if full := (*ledger.FullError)(nil); errors.As(err, &full) {
			return refused(keysv1alpha1.ReasonQuotaExceeded, full.Error()), nil
		}
		if !changed {
			return nil, nil
		}
		// Update, not Patch: it carries the resourceVersion that was read, and so only replaces what was read (S3).
		err = s.client.Status().Update(ctx, tenant)
		if err == nil {
			return nil, nil
		}
		if !apierrors.IsConflict(err) || attempt == attempts {
			return nil, fmt.Errorf("reserving a place for the key in the ledger of tenant %s: %w", tenant.Name, err)
		}
		tenant = &keysv1alpha1.Tenant{}
		if err := s.live.Get(ctx, client.ObjectKeyFromObject(r.tenant), tenant); err != nil {
			return nil, fmt.Errorf("reading tenant %s: %w", r.tenant.Name, err)
		}
	}
}
