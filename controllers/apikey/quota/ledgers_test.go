package quota

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/ledger"
)

// contested is an API server on which others write a tenant's ledger first, for a number of conflicts.
type contested struct {
	client.Client
	stored    *keysv1alpha1.Tenant
	conflicts int
	writes    int
	err       error
}

func (c *contested) Status() client.SubResourceWriter { return ledgerWriter{contested: c} }

type ledgerWriter struct {
	client.SubResourceWriter
	contested *contested
}

// Update writes a tenant's ledger.
func (w ledgerWriter) Update(_ context.Context, object client.Object, _ ...client.SubResourceUpdateOption) error {
	c := w.contested
	c.writes++
	if c.conflicts > 0 {
		c.conflicts--
		c.stored.ResourceVersion += "1"
		other := keysv1alpha1.ActiveKey{UID: fmt.Sprintf("other-%d", c.writes)}
		c.stored.Status.ActiveKeys = append(c.stored.Status.ActiveKeys, other)
	}
	if object.GetResourceVersion() != c.stored.ResourceVersion {
		return apierrors.NewConflict(schema.GroupResource{}, object.GetName(), errors.New("it has changed"))
	}
	if c.err != nil {
		return c.err
	}
	c.stored = object.(*keysv1alpha1.Tenant).DeepCopy()
	return nil
}

// Get reads the tenant past the cache.
func (c *contested) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	c.stored.DeepCopyInto(into.(*keysv1alpha1.Tenant))
	return nil
}

// nobodyWaits is a queue without keys.
func nobodyWaits() *Queue { return &Queue{Keys: queueOf(nil)} }

// TestPlacesAreTakenTogether checks that keys which are minted at the same time take their places in one write. It
// fails when settle takes only one place, does not try again after a conflict, or takes more places than there are
// (S3).
func TestPlacesAreTakenTogether(t *testing.T) {
	away := apierrors.NewServiceUnavailable("away")
	for name, test := range map[string]struct {
		held, reservations, conflicts int
		err                           error
		wantWrites, wantPlaces        int
		wantFull, wantFailed          int
	}{
		"alone":                      {reservations: 1, wantWrites: 1, wantPlaces: 1},
		"five at a time":             {reservations: 5, wantWrites: 1, wantPlaces: 5},
		"more than there are places": {held: 4, reservations: 5, wantWrites: 1, wantPlaces: 6, wantFull: 3},
		"no place":                   {held: 6, reservations: 2, wantWrites: 0, wantPlaces: 6, wantFull: 2},
		"after a conflict":           {reservations: 3, conflicts: 1, wantWrites: 2, wantPlaces: 4},
		"another takes the last place first": {
			held: 4, reservations: 2, conflicts: 1, wantWrites: 2, wantPlaces: 6, wantFull: 1,
		},
		"conflicts without end":  {reservations: 2, conflicts: 99, wantWrites: 5, wantPlaces: 5, wantFailed: 2},
		"the API server is away": {reservations: 3, err: away, wantWrites: 1, wantPlaces: 0, wantFailed: 3},
	} {
		t.Run(name, func(t *testing.T) {
			tenant := &keysv1alpha1.Tenant{
				ObjectMeta: metav1.ObjectMeta{Name: "acme", UID: "t", ResourceVersion: "1"},
				Spec:       keysv1alpha1.TenantSpec{MaxKeys: new(int32(6))},
			}
			for i := range test.held {
				tenant.Status.ActiveKeys = append(tenant.Status.ActiveKeys, keysv1alpha1.ActiveKey{UID: fmt.Sprintf("held-%d", i)})
			}
			server := &contested{stored: tenant.DeepCopy(), conflicts: test.conflicts, err: test.err}
			s := newLedgers(server, server, clocktesting.NewFakePassiveClock(time.Now()), nobodyWaits())
			reservations := make([]*reservation, test.reservations)
			var b *batch
			for i := range reservations {
				uid := types.UID(fmt.Sprintf("mine-%d", i))
				reservations[i] = s.reservationFor(&keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{UID: uid}}, false, true)
				b = s.join(tenant.UID, reservations[i])
			}
			s.settle(t.Context(), tenant, s.take(b))
			full, failed := 0, 0
			for i, c := range reservations {
				fullError := (*ledger.FullError)(nil)
				switch {
				case !c.settled:
					t.Errorf("reservation %d is not settled", i)
				case errors.As(c.err, &fullError):
					full++
				case c.err != nil:
					failed++
				case !ledger.Holds(server.stored, c.place.UID):
					t.Errorf("reservation %d has no place and no error", i)
				}
			}
			got := [...]int{server.writes, len(server.stored.Status.ActiveKeys), full, failed}
			want := [...]int{test.wantWrites, test.wantPlaces, test.wantFull, test.wantFailed}
			if got != want {
				t.Errorf("writes, places, full, failed: %d; want %d", got, want)
			}
			for range reservations {
				s.leave(tenant.UID, b)
			}
			if len(s.batches) != 0 {
				t.Error("a batch is left")
			}
		})
	}
}

// TestLatestLedger checks that the next reservation uses the ledger as this process has last written it while the cache
// is behind, and the cache once that is newer.
func TestLatestLedger(t *testing.T) {
	read := &keysv1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: "acme", UID: "t", ResourceVersion: "5"}}
	s := newLedgers(nil, nil, nil, nobodyWaits())
	if s.latest(read) != read {
		t.Error("what was read is not the latest, though nothing was written")
	}
	written := read.DeepCopy()
	written.ResourceVersion = "10"
	s.remember(written)
	if s.latest(read) != written {
		t.Error("what was written is forgotten while the cache is behind")
	}
	newest := read.DeepCopy()
	newest.ResourceVersion = "11"
	if s.latest(newest) != newest || s.latest(read) != read {
		t.Error("what was written is kept though the cache is past it")
	}
}
