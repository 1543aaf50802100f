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
//
// The keys that this process mints at a time would only get in one another's way: a write costs less than a conflict. So a
// ledger is written by one at a time, and whoever's turn it is takes places for all that wait by then, in one write.
type reserve struct {
	client client.Client
	// live reads past the cache, for when the cache has been overtaken.
	live  client.Reader
	clock clock.PassiveClock

	mu sync.Mutex
	// books are those of the tenants, by UID, in whose ledgers somebody is just taking a place.
	books map[types.UID]*book
	// written are the ledgers as this process has last written them, by the tenant's UID, for as long as the cache is
	// behind that.
	written map[types.UID]*keysv1alpha1.Tenant
}

// book is where those wait who take a place in the same ledger.
type book struct {
	// turn is held by the one who writes.
	turn sync.Mutex
	// users and waiting are guarded by reserve.mu.
	users   int
	waiting []*claim
}

// claim is one key's for a place. It is settled by whoever's turn it is.
type claim struct {
	place   keysv1alpha1.ActiveKey
	issued  bool
	settled bool
	// err is what came of it: a *ledger.FullError where there is no place.
	err error
}

// attempts is how often a reservation that others get in the way of is tried again at once.
const attempts = 5

func (s *reserve) run(ctx context.Context, r *round) (*outcome, error) {
	issued := len(r.key.Status.Credentials) > 0
	if issued && ledger.Holds(r.tenant, string(r.key.UID)) {
		return nil, nil
	}
	reserved := metav1.NewMicroTime(s.clock.Now())
	mine := &claim{issued: issued, place: keysv1alpha1.ActiveKey{
		UID: string(r.key.UID), Namespace: r.key.Namespace, Name: r.key.Name, ReservedTime: &reserved,
	}}
	b := s.join(r.tenant.UID, mine)
	defer s.leave(r.tenant.UID, b)
	b.turn.Lock()
	defer b.turn.Unlock()
	if !mine.settled {
		s.settle(ctx, r.tenant, s.take(b))
	}
	if full := (*ledger.FullError)(nil); errors.As(mine.err, &full) {
		ungrant(r)
		return refused(keysv1alpha1.ReasonQuotaExceeded, sentence(full)), nil
	}
	return nil, mine.err
}

// join adds a claim to those that wait for a tenant's ledger.
func (s *reserve) join(tenant types.UID, mine *claim) *book {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.books[tenant]
	if b == nil {
		b = &book{}
		s.books[tenant] = b
	}
	b.users++
	b.waiting = append(b.waiting, mine)
	return b
}

func (s *reserve) leave(tenant types.UID, b *book) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.users--
	if b.users == 0 {
		delete(s.books, tenant)
	}
}

// take returns the claims that wait by now.
func (s *reserve) take(b *book) []*claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	claims := b.waiting
	b.waiting = nil
	return claims
}

// settle takes places for claims, in one write.
func (s *reserve) settle(ctx context.Context, read *keysv1alpha1.Tenant, claims []*claim) {
	tenant := s.latest(read)
	for attempt := 1; ; attempt++ {
		tenant = tenant.DeepCopy()
		changed := false
		for _, c := range claims {
			took, err := ledger.Reserve(tenant, c.place, c.issued)
			changed = changed || took
			c.settled, c.err = true, err
		}
		if !changed {
			return
		}
		// Update, not Patch: it carries the resourceVersion that was read, and so only replaces what was read (S3).
		err := s.client.Status().Update(ctx, tenant)
		if err == nil {
			s.remember(tenant)
			return
		}
		s.forget(read.UID)
		if !apierrors.IsConflict(err) || attempt == attempts {
			fail(claims, fmt.Errorf("reserving a place for the key in the ledger of tenant %s: %w", read.Name, err))
			return
		}
		tenant = &keysv1alpha1.Tenant{}
		if err := s.live.Get(ctx, client.ObjectKeyFromObject(read), tenant); err != nil {
			fail(claims, fmt.Errorf("reading tenant %s: %w", read.Name, err))
			return
		}
	}
}

// fail gives all claims an error, those for which there was no place too: the next look may find another ledger.
func fail(claims []*claim, err error) {
	for _, c := range claims {
		c.err = err
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
	s.mu.Lock()
	defer s.mu.Unlock()
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

func (s *reserve) remember(written *keysv1alpha1.Tenant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written[written.UID] = written
}

func (s *reserve) forget(tenant types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.written, tenant)
}
