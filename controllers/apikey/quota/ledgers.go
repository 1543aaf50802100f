package quota

import (
	"context"
	"fmt"
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

// attempts is how often a write of a ledger is tried in a row if others have changed the ledger.
const attempts = 5

// ledgers writes the ledgers of tenants.
//
// The keys that this process mints at the same time would conflict with one another, and a write costs less than a
// conflict. So one of them at a time is the leader, and takes places for all that are in the batch by then, in one
// write.
type ledgers struct {
	client client.Client
	// live reads past the cache, for when the cache has been overtaken.
	live  client.Reader
	clock clock.PassiveClock
	queue *Queue

	mu sync.Mutex
	// batches maps a tenant's UID to the batch that somebody is in.
	batches map[types.UID]*batch
	// written maps a tenant's UID to the ledger that this process has last written, while the cache is behind that.
	written map[types.UID]*keysv1alpha1.Tenant
}

// batch holds the reservations that wait for a write of the same ledger.
type batch struct {
	// leader is locked by the one that writes.
	leader sync.Mutex
	// users and waiting are guarded by ledgers.mu.
	users   int
	waiting []*reservation
}

// reservation is a place for one key. The leader of its batch settles it.
type reservation struct {
	key   *keysv1alpha1.ApiKey
	place keysv1alpha1.ActiveKey
	// issued and isNew say how far the key is: whether it has a credential, and whether nothing has been written of it.
	issued, isNew bool
	settled       bool
	// err is the result: a *ledger.FullError if there is no place.
	err error
}

func newLedgers(writer client.Client, live client.Reader, clk clock.PassiveClock, queue *Queue) *ledgers {
	return &ledgers{
		client: writer, live: live, clock: clk, queue: queue,
		batches: map[types.UID]*batch{}, written: map[types.UID]*keysv1alpha1.Tenant{},
	}
}

// reservationFor returns a reservation for a key.
func (l *ledgers) reservationFor(key *keysv1alpha1.ApiKey, issued, isNew bool) *reservation {
	reserved := metav1.NewMicroTime(l.clock.Now())
	return &reservation{
		key: key,
		place: keysv1alpha1.ActiveKey{
			UID: string(key.UID), Namespace: key.Namespace, Name: key.Name, ReservedTime: &reserved,
		},
		issued: issued, isNew: isNew,
	}
}

// reserve takes a place in a tenant's ledger; and, in the same write, places for others, whose results nobody asks for.
// The error is a *ledger.FullError if there is no place.
func (l *ledgers) reserve(
	ctx context.Context, tenant *keysv1alpha1.Tenant, mine *reservation, others []*reservation,
) error {
	b := l.join(tenant.UID, mine)
	defer l.leave(tenant.UID, b)
	b.leader.Lock()
	defer b.leader.Unlock()
	if !mine.settled {
		l.settle(ctx, tenant, append(l.take(b), others...))
	}
	return mine.err
}

// join adds a reservation to a tenant's batch.
func (l *ledgers) join(tenant types.UID, mine *reservation) *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.batches[tenant]
	if b == nil {
		b = &batch{}
		l.batches[tenant] = b
	}
	b.users++
	b.waiting = append(b.waiting, mine)
	return b
}

func (l *ledgers) leave(tenant types.UID, b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.users--
	if b.users == 0 {
		delete(l.batches, tenant)
	}
}

// take returns the reservations that wait now.
func (l *ledgers) take(b *batch) []*reservation {
	l.mu.Lock()
	defer l.mu.Unlock()
	reservations := b.waiting
	b.waiting = nil
	return reservations
}

// settle takes places for reservations, in one write.
func (l *ledgers) settle(ctx context.Context, read *keysv1alpha1.Tenant, reservations []*reservation) {
	tenant := l.latest(read)
	for attempt := 1; ; attempt++ {
		tenant = tenant.DeepCopy()
		if !takePlaces(tenant, reservations, l.queue.Of(ctx, tenant)) {
			return
		}
		// Update, not Patch: it carries the resourceVersion that was read, and so only replaces what was read (S3).
		err := l.client.Status().Update(ctx, tenant)
		if err == nil {
			l.remember(tenant)
			return
		}
		l.forget(read.UID)
		if !apierrors.IsConflict(err) || attempt == attempts {
			fail(reservations, fmt.Errorf("reserving a place for the key in the ledger of tenant %s: %w", read.Name, err))
			return
		}
		tenant = &keysv1alpha1.Tenant{}
		if err := l.live.Get(ctx, client.ObjectKeyFromObject(read), tenant); err != nil {
			fail(reservations, fmt.Errorf("reading tenant %s: %w", read.Name, err))
			return
		}
	}
}

// takePlaces takes places in a ledger, in memory, and reports whether the ledger has changed. No key overtakes an older
// one that waits. It is pure.
func takePlaces(
	tenant *keysv1alpha1.Tenant, reservations []*reservation, waiting []*keysv1alpha1.ApiKey,
) (changed bool) {
	for _, r := range reservations {
		if r.settled, r.err = true, nil; r.isNew && ledger.Holds(tenant, r.place.UID) {
			continue
		}
		var took bool
		took, r.err = ledger.Reserve(tenant, r.place, r.issued, ahead(r.key, waiting, tenant))
		changed = changed || took
	}
	return changed
}

// fail gives all reservations an error, including those without a place: by the next reconciliation the ledger may have
// one.
func fail(reservations []*reservation, err error) {
	for _, r := range reservations {
		r.err = err
	}
}

// latest returns the newer of a tenant as it was read and as this process has written it. It only affects the number of
// conflicts.
func (l *ledgers) latest(read *keysv1alpha1.Tenant) *keysv1alpha1.Tenant {
	l.mu.Lock()
	defer l.mu.Unlock()
	written, ok := l.written[read.UID]
	if !ok {
		return read
	}
	order, err := resourceversion.CompareResourceVersion(read.ResourceVersion, written.ResourceVersion)
	if err != nil || order >= 0 {
		delete(l.written, read.UID)
		return read
	}
	return written
}

func (l *ledgers) remember(written *keysv1alpha1.Tenant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written[written.UID] = written
}

func (l *ledgers) forget(tenant types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.written, tenant)
}
