package credentials

import (
	"math"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

const (
	// rotationsPerSecond spreads out rotations that are due at once, as after the controller was away: each of them makes
	// every consumer of a key read its Secret again.
	rotationsPerSecond = 5
	// reservedForRequests is how many rotations, beside those of a second, schedules leave to requests, because people
	// wait for those.
	reservedForRequests = 1
	// maxRequestsInARow is the number of requests after which a schedule comes first, so that no number of requests
	// holds up all schedules.
	maxRequestsInARow = 4
	// minRetry and maxRetry bound the time after which a key that had to wait asks again.
	minRetry, maxRetry = time.Second / rotationsPerSecond, 30 * time.Second
	// retryGrace is how much later than that it may ask without losing its position.
	retryGrace = 10 * time.Second
	// maxCompared bounds the cost of one admit. If more tenants wait than that, the order among them is an estimate.
	maxCompared = 256
)

// rotationLimiter limits the rate of rotations, and decides which of the keys that are due come first: requests before
// schedules, and within each of these the tenants alternately, however many keys each has (start-time fair queueing).
type rotationLimiter struct {
	clock clock.PassiveClock

	mu sync.Mutex
	// tokens is how many rotations may begin now, as of refilledAt.
	tokens     float64
	refilledAt time.Time
	// requestsInARow is how many requests were admitted since the last schedule was.
	requestsInARow       int
	requested, scheduled fairQueue
}

// fairQueue holds the keys that wait, by tenant.
type fairQueue struct {
	tenants map[types.UID]*tenantQueue
	// virtualTime is the latest start tag that was admitted.
	virtualTime float64
}

// tenantQueue holds the keys of one tenant that wait, in the order in which they came.
type tenantQueue struct {
	// startTag is that of the first key. Each key behind it has the next one. The lowest start tag of all tenants comes
	// first.
	startTag float64
	keys     []waitingKey
}

// waitingKey is a key that waits, until the time by which it is expected to have asked again.
type waitingKey struct {
	uid     types.UID
	expires time.Time
}

func newRotationLimiter(clk clock.PassiveClock) *rotationLimiter {
	return &rotationLimiter{
		clock: clk, tokens: rotationsPerSecond + reservedForRequests, refilledAt: clk.Now(),
		requested: fairQueue{tenants: map[types.UID]*tenantQueue{}},
		scheduled: fairQueue{tenants: map[types.UID]*tenantQueue{}},
	}
}

// admit reports whether a tenant's key may be rotated now, and otherwise returns the time after which to ask again.
func (l *rotationLimiter) admit(tenant, key types.UID, requested bool) (ok bool, retryAfter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	l.refill(now)
	queue, reserved := &l.requested, 0
	if !requested {
		queue, reserved = &l.scheduled, reservedForRequests
	}
	mine, position := queue.enter(tenant, key)
	ahead := queue.ahead(mine, position, now)
	ahead += l.aheadInOtherQueue(requested, ahead, now)
	if missing := float64(ahead+reserved+1) - l.tokens; missing > 0 {
		wait := time.Duration(missing / rotationsPerSecond * float64(time.Second))
		retryAfter = min(max(wait, minRetry), maxRetry)
		mine.keys[position].expires = now.Add(retryAfter + retryGrace)
		return false, retryAfter
	}
	l.tokens--
	queue.virtualTime = max(queue.virtualTime, mine.startTag)
	mine.startTag++
	mine.keys = slices.Delete(mine.keys, position, position+1)
	l.requestsInARow++
	if !requested {
		l.requestsInARow = 0
	}
	return true, 0
}

// refill adds the rotations that have become possible since the last refill.
func (l *rotationLimiter) refill(now time.Time) {
	elapsed := max(0, now.Sub(l.refilledAt).Seconds())
	l.tokens = min(rotationsPerSecond+reservedForRequests, l.tokens+rotationsPerSecond*elapsed)
	l.refilledAt = now
}

// aheadInOtherQueue returns how many keys of the other queue come before a key that has a number of its own queue ahead
// of it.
func (l *rotationLimiter) aheadInOtherQueue(requested bool, ahead int, now time.Time) int {
	scheduleFirst := l.requestsInARow >= maxRequestsInARow
	switch {
	case requested && scheduleFirst && l.scheduled.count(now, 1) > 0:
		return 1 + reservedForRequests // So that there are enough tokens when the schedule asks again.
	case requested, scheduleFirst:
		return 0
	}
	return l.requested.count(now, maxRequestsInARow*(ahead+1))
}

// enter returns a tenant's queue and a key's position in it. A key that is not in the queue is added at its end.
func (q *fairQueue) enter(tenant, key types.UID) (*tenantQueue, int) {
	mine := q.tenants[tenant]
	if mine == nil {
		mine = &tenantQueue{startTag: q.virtualTime}
		q.tenants[tenant] = mine
	}
	position := slices.IndexFunc(mine.keys, func(k waitingKey) bool { return k.uid == key })
	if position < 0 {
		position = len(mine.keys)
		mine.keys = append(mine.keys, waitingKey{uid: key})
	}
	return mine, position
}

// ahead returns how many keys come before the one at a position of a tenant's queue.
func (q *fairQueue) ahead(mine *tenantQueue, position int, now time.Time) int {
	startTag := mine.startTag + float64(position)
	ahead := position
	q.each(now, func(other *tenantQueue) {
		if other != mine {
			ahead += min(len(other.keys), int(math.Ceil(max(0, startTag-other.startTag))))
		}
	})
	return ahead
}

// count returns how many keys wait, or limit if there are more.
func (q *fairQueue) count(now time.Time, limit int) (count int) {
	q.each(now, func(t *tenantQueue) { count += len(t.keys) })
	return min(count, limit)
}

// each calls a function for the queues of up to maxCompared tenants. It removes the keys that have not asked again in
// time, and the queues that no longer affect the order.
func (q *fairQueue) each(now time.Time, do func(*tenantQueue)) {
	compared := 0
	for tenant, queue := range q.tenants {
		queue.keys = slices.DeleteFunc(queue.keys, func(k waitingKey) bool {
			return !k.expires.IsZero() && now.After(k.expires)
		})
		if len(queue.keys) == 0 && queue.startTag <= q.virtualTime {
			delete(q.tenants, tenant)
			continue
		}
		do(queue)
		if compared == maxCompared {
			return
		}
		compared++
	}
}
