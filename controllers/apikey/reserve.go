package apikey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
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

	// mu has the keys that this process mints take their places one by one. They would only get in one another's way: a
	// write costs less than a conflict.
	mu sync.Mutex
	// written are the ledgers as this process has last written them, by the tenant's UID, for as long as the cache is
	// behind that.
	written map[types.UID]*keysv1alpha1.Tenant
}

// attempts is how often a reservation that others get in the way of is tried again at once.
const attempts = 5

func (s *reserve) run(ctx context.Context, r *round) (*outcome, error) {
	issued := len(r.key.Status.Credentials) > 0
	if issued && ledger.Holds(r.tenant, string(r.key.UID)) {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reserved := metav1.NewMicroTime(s.clock.Now())
	place := keysv1alpha1.ActiveKey{UID: string(r.key.UID), Namespace: r.key.Namespace, Name: r.key.Name, ReservedTime: &reserved}
	tenant := s.latest(r.tenant)
	for attempt := 1; ; attempt++ {
		tenant = tenant.DeepCopy()
		changed, err := ledger.Reserve(tenant, place, issued)
		if full := (*ledger.FullError)(nil); errors.As(err, &full) {
			ungrant(r)
			return refused(keysv1alpha1.ReasonQuotaExceeded, sentence(full)), nil
		}
		if !changed {
			return nil, nil
		}
		// Update, not Patch: it carries the resourceVersion that was read, and so only replaces what was read (S3).
		err = s.client.Status().Update(ctx, tenant)
		if err == nil {
			s.written[tenant.UID] = tenant
			return nil, nil
		}
		delete(s.written, tenant.UID)
		if !apierrors.IsConflict(err) || attempt == attempts {
			return nil, fmt.Errorf("reserving a place for the key in the ledger of tenant %s: %w", tenant.Name, err)
		}
		tenant = &keysv1alpha1.Tenant{}
		if err := s.live.Get(ctx, client.ObjectKeyFromObject(r.tenant), tenant); err != nil {
			return nil, fmt.Errorf("reading tenant %s: %w", r.tenant.Name, err)
		}
	}
}

// sentence writes an error as conditions are written.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// latest returns the newer of a tenant as it was read and as it was written here. Which it is matters to the number of
// conflicts only.
func (s *reserve) latest(read *keysv1alpha1.Tenant) *keysv1alpha1.Tenant {
	written, ok := s.written[read.UID]
	if !ok {
		return read
	}
	if order, err := resourceversion.CompareResourceVersion(read.ResourceVersion, written.ResourceVersion); err != nil || order >= 0 {
		delete(s.written, read.UID)
		return read
	}
	return written
}
