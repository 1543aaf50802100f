package apikey

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
// ledger is written by one at a time, and whoever's turn it is takes places for all that wait by then, in one write; and for
// those that are about to come, which are the namespace's other keys that are new and would be admitted.
//
// A new key that has a place needs no other. Only what is finished or refused gives its place back, as the API server has it,
// and no such key is announced as new: its status would have changed since it was read.
type reserve struct {
	client client.Client
	// live reads past the cache, for when the cache has been overtaken.
	live  client.Reader
	clock clock.PassiveClock
	// others returns a namespace's keys that are new; nil where nobody knows.
	others func(ctx context.Context, namespace string) ([]*keysv1alpha1.ApiKey, error)
	// index finds keys that wait for a place; nil where nobody knows.
	index *Index

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
	key   *keysv1alpha1.ApiKey
	place keysv1alpha1.ActiveKey
	// issued and new say how far the key is.
	issued, new bool
	settled     bool
	// err is what came of it: a *ledger.FullError where there is no place.
	err error
}

func newReserve(o Options) *reserve {
	return &reserve{
		client: o.Client, live: o.Live, clock: o.Clock, others: o.New, index: o.Index,
		books: map[types.UID]*book{}, written: map[types.UID]*keysv1alpha1.Tenant{},
	}
}

// mostComing is how many of a namespace's new keys are looked at, the oldest first: a tenant has no more places.
const mostComing = 500

// attempts is how often a reservation that others get in the way of is tried again at once.
const attempts = 5

func (s *reserve) run(ctx context.Context, r *round) (*outcome, error) {
	issued := len(r.key.Status.Credentials) > 0
	if issued && ledger.Holds(r.tenant, string(r.key.UID)) {
		return nil, nil
	}
	if r.new && ledger.Holds(s.latest(r.tenant), string(r.key.UID)) {
		return nil, nil
	}
	mine := s.claim(r.key)
	mine.issued, mine.new = issued, r.new
	others, err := s.coming(ctx, r)
	if err != nil {
		return nil, err
	}
	b := s.join(r.tenant.UID, mine)
	defer s.leave(r.tenant.UID, b)
	b.turn.Lock()
	defer b.turn.Unlock()
	if !mine.settled {
		s.settle(ctx, r.tenant, append(s.take(b), others...))
	}
	if full := (*ledger.FullError)(nil); errors.As(mine.err, &full) {
		ungrant(r)
		return s.withoutPlace(r.key, full), nil
	}
	return nil, mine.err
}

// claim returns a key's claim for a place.
func (s *reserve) claim(key *keysv1alpha1.ApiKey) *claim {
	reserved := metav1.NewMicroTime(s.clock.Now())
	return &claim{
		key:   key,
		place: keysv1alpha1.ActiveKey{UID: string(key.UID), Namespace: key.Namespace, Name: key.Name, ReservedTime: &reserved},
	}
}

// coming returns claims for the other keys of a key's namespace that are new and would be admitted, the oldest first. One that
// is refused after all gives its place back.
func (s *reserve) coming(ctx context.Context, r *round) (claims []*claim, err error) {
	// Anybody may create keys without number, so no more of them are looked at than there are places.
	tenant := s.latest(r.tenant)
	free := ledger.Max(tenant) - len(tenant.Status.ActiveKeys)
	if s.others == nil || !r.new || free <= 0 {
		return nil, nil
	}
	keys, err := s.others(ctx, r.key.Namespace)
	if err != nil {
		return nil, fmt.Errorf("finding the namespace's other new keys: %w", err)
	}
	slices.SortFunc(keys, byAge)
	for _, key := range keys[:min(len(keys), mostComing)] {
		if len(claims) == free {
			break
		}
		if key.UID == r.key.UID || !alike(r, key) {
			continue
		}
		c := s.claim(key)
		c.new = true
		claims = append(claims, c)
	}
	return claims, nil
}

// alike says whether another key of the namespace would be admitted as this one was.
func alike(r *round, other *keysv1alpha1.ApiKey) bool {
	if other.DeletionTimestamp != nil || other.Spec.State != keysv1alpha1.ApiKeyActive || other.Spec.Digest != nil || isCanary(other) || !isNew(other) {
		return false
	}
	facts := r.facts
	facts.key, facts.claimants = other, nil
	tenant, refusal := judge(facts)
	return refusal == nil && tenant.UID == r.tenant.UID
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
		if !s.places(ctx, tenant, claims) {
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

// places takes places for claims in a tenant's ledger, and reports whether it has changed. No key overtakes an older one that waits.
func (s *reserve) places(ctx context.Context, tenant *keysv1alpha1.Tenant, claims []*claim) (changed bool) {
	var waiting []*keysv1alpha1.ApiKey
	if s.index != nil {
		waiting = s.index.waitingOf(ctx, s.client, tenant)
	}
	for _, c := range claims {
		if c.settled, c.err = true, nil; c.new && ledger.Holds(tenant, c.place.UID) {
			continue
		}
		var took bool
		took, c.err = ledger.Reserve(tenant, c.place, c.issued, ahead(c.key, waiting, tenant))
		changed = changed || took
	}
	return changed
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
