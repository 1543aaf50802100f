package apikey

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// contested is an API server on which others write a tenant's ledger a number of times first.
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
		c.stored.Status.ActiveKeys = append(c.stored.Status.ActiveKeys, keysv1alpha1.ActiveKey{UID: fmt.Sprintf("other-%d", c.writes)})
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

// TestNoMoreComeThanThereArePlaces has somebody create keys without number in a namespace. Of each of them the others were judged, which
// took a time in proportion to the square of their number, for which every other tenant's keys waited.
func TestNoMoreComeThanThereArePlaces(t *testing.T) {
	const many = 5_000
	keys := make([]*keysv1alpha1.ApiKey, many)
	for i := range keys {
		keys[i] = &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint(i), UID: types.UID(fmt.Sprint(i))}}
		keys[i].Spec.State = keysv1alpha1.ApiKeyActive
	}
	asked := 0
	s := &reserve{clock: clocktesting.NewFakePassiveClock(time.Now()), others: func(context.Context, string) ([]*keysv1alpha1.ApiKey, error) {
		asked++
		return slices.Clone(keys), nil
	}}
	most := int32(5)
	tenant := keysv1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: "acme", UID: "acme"}, Spec: keysv1alpha1.TenantSpec{
		ID: "3714240b-2e06-4c35-8856-ccc1c096323e", MaxKeys: &most, ExpiryOptions: []keysv1alpha1.Expiry{keysv1alpha1.ExpiryNever},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tenant": "acme"}},
	}}
	r := &round{key: keys[0], new: true, tenant: &tenant, facts: facts{
		key: keys[0], namespace: map[string]string{"tenant": "acme"}, tenants: []keysv1alpha1.Tenant{tenant}, served: true,
	}}
	if coming, err := s.coming(t.Context(), r); err != nil || len(coming) != int(most) {
		t.Errorf("%d come, %v", len(coming), err)
	}
	for i := range most {
		tenant.Status.ActiveKeys = append(tenant.Status.ActiveKeys, keysv1alpha1.ActiveKey{UID: fmt.Sprint("held-", i)})
	}
	if coming, err := s.coming(t.Context(), r); err != nil || len(coming) != 0 || asked != 1 {
		t.Errorf("where there is no place, %d come, %v, and others were asked for %d times", len(coming), err, asked)
	}
}

// TestPlacesTogether has keys that are minted at a time take their places. It fails when settle takes no more than one's, does
// not look again after a conflict, or gives away more places than there are (S3).
func TestPlacesTogether(t *testing.T) {
	away := apierrors.NewServiceUnavailable("away")
	for name, test := range map[string]struct {
		held, claims, conflicts int
		err                     error
		wantWrites, wantPlaces  int
		wantFull, wantFailed    int
	}{
		"alone":                               {claims: 1, wantWrites: 1, wantPlaces: 1},
		"five at a time":                      {claims: 5, wantWrites: 1, wantPlaces: 5},
		"more than there are places":          {held: 4, claims: 5, wantWrites: 1, wantPlaces: 6, wantFull: 3},
		"no place":                            {held: 6, claims: 2, wantWrites: 0, wantPlaces: 6, wantFull: 2},
		"after a conflict":                    {claims: 3, conflicts: 1, wantWrites: 2, wantPlaces: 4},
		"the last place is another's by then": {held: 4, claims: 2, conflicts: 1, wantWrites: 2, wantPlaces: 6, wantFull: 1},
		"conflicts without end":               {claims: 2, conflicts: 99, wantWrites: 5, wantPlaces: 5, wantFailed: 2},
		"the API server is away":              {claims: 3, err: away, wantWrites: 1, wantPlaces: 0, wantFailed: 3},
	} {
		t.Run(name, func(t *testing.T) {
			tenant := &keysv1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: "acme", UID: "t", ResourceVersion: "1"}, Spec: keysv1alpha1.TenantSpec{MaxKeys: new(int32(6))}}
			for i := range test.held {
				tenant.Status.ActiveKeys = append(tenant.Status.ActiveKeys, keysv1alpha1.ActiveKey{UID: fmt.Sprintf("held-%d", i)})
			}
			server := &contested{stored: tenant.DeepCopy(), conflicts: test.conflicts, err: test.err}
			s := newReserve(Options{Client: server, Live: server, Clock: clocktesting.NewFakePassiveClock(time.Now())})
			claims := make([]*claim, test.claims)
			var b *book
			for i := range claims {
				claims[i] = s.claim(&keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{UID: types.UID(fmt.Sprintf("mine-%d", i))}})
				claims[i].new = true
				b = s.join(tenant.UID, claims[i])
			}
			s.settle(t.Context(), tenant, s.take(b))
			full, failed := 0, 0
			for i, c := range claims {
				fullError := (*ledger.FullError)(nil)
				switch {
				case !c.settled:
					t.Errorf("claim %d is not settled", i)
				case errors.As(c.err, &fullError):
					full++
				case c.err != nil:
					failed++
				case !ledger.Holds(server.stored, c.place.UID):
					t.Errorf("claim %d has no place, and is not told", i)
				}
			}
			if server.writes != test.wantWrites || len(server.stored.Status.ActiveKeys) != test.wantPlaces || full != test.wantFull || failed != test.wantFailed {
				t.Errorf("%d writes, %d places, %d full, %d failed; want %d, %d, %d, %d", server.writes, len(server.stored.Status.ActiveKeys), full, failed,
					test.wantWrites, test.wantPlaces, test.wantFull, test.wantFailed)
			}
			for range claims {
				s.leave(tenant.UID, b)
			}
			if len(s.books) != 0 {
				t.Error("a book is left open")
			}
		})
	}
}

// TestPlacesWrittenHereCount checks that the next claim goes by the ledger as it was last written here, where the cache is
// behind, and by the cache where that is newer.
func TestPlacesWrittenHereCount(t *testing.T) {
	read := &keysv1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: "acme", UID: "t", ResourceVersion: "5"}}
	s := newReserve(Options{})
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
