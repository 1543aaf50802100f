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
	// rotationsPerSecond spreads out rotations that are due at once, as after the controller was away: each has every
	// consumer of a key read its Secret again.
	rotationsPerSecond = 5
	// forRequests is how many rotations beside those of a second schedules leave to requests, which people wait for.
	forRequests = 1
	// requestsInARow is after how many requests a schedule has its turn, so that no number of requests holds up all
	// schedules.
	requestsInARow = 4
	// soonest and latest are when a key that has to stand back looks again.
	soonest, latest = time.Second / rotationsPerSecond, 30 * time.Second
	// lateness is how much later than that it may look without losing its place.
	lateness = 10 * time.Second
	// mostCompared bounds what one look costs. With more tenants than that waiting, whose turn it is is an estimate.
	mostCompared = 256
)

// turns says which of the keys that are due to be rotated may be now: requests before schedules, and of each the
// tenants in turn, whatever number of keys each has. A tenant that has had more turns than another since both began to
// wait stands behind it (start-time fair queueing).
type turns struct {
	clock clock.PassiveClock

	mu sync.Mutex
	// left is how many rotations may begin now, as of at.
	left float64
	at   time.Time
	// requests is how many of those have begun since a schedule had its turn.
	requests             int
	requested, scheduled queue
}

// queue is where keys wait, in a line for each tenant.
type queue struct {
	lines map[types.UID]*line
	// turn is the latest that a tenant has had.
	turn float64
}

// line has a tenant's keys, those that came first in front.
type line struct {
	// turn is the first key's. Each key behind it has the one after.
	turn float64
	keys []standing
}

// standing is a key in a line, for as long as it is expected to look again.
type standing struct {
	key   types.UID
	until time.Time
}

func newTurns(clock clock.PassiveClock) *turns {
	return &turns{
		clock: clock, left: rotationsPerSecond + forRequests, at: clock.Now(),
		requested: queue{lines: map[types.UID]*line{}}, scheduled: queue{lines: map[types.UID]*line{}},
	}
}

// take takes a turn for a tenant's key, or says when to look again.
func (t *turns) take(tenant, key types.UID, requested bool) (ok bool, again time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock.Now()
	t.left = min(rotationsPerSecond+forRequests, t.left+rotationsPerSecond*max(0, now.Sub(t.at).Seconds()))
	t.at = now
	q, keep := &t.requested, 0
	if !requested {
		q, keep = &t.scheduled, forRequests
	}
	mine, place := q.stand(tenant, key)
	ahead := q.ahead(mine, place, now)
	ahead += t.others(requested, ahead, now)
	missing := float64(ahead+keep+1) - t.left
	if missing > 0 {
		again = min(max(time.Duration(missing/rotationsPerSecond*float64(time.Second)), soonest), latest)
		mine.keys[place].until = now.Add(again + lateness)
		return false, again
	}
	t.left--
	q.turn = max(q.turn, mine.turn)
	mine.turn++
	mine.keys = slices.Delete(mine.keys, place, place+1)
	t.requests++
	if !requested {
		t.requests = 0
	}
	return true, 0
}

// others returns how many of the other queue come before a key that has some of its own queue ahead of it.
func (t *turns) others(requested bool, ahead int, now time.Time) int {
	schedulesTurn := t.requests >= requestsInARow
	switch {
	case requested && schedulesTurn && t.scheduled.count(now, 1) > 0:
		return 1 + forRequests // So that there is enough left for the schedule when it looks.
	case requested, schedulesTurn:
		return 0
	}
	return t.requested.count(now, requestsInARow*(ahead+1))
}

// stand returns a key's line and its place there, which is the last where it had none.
func (q *queue) stand(tenant, key types.UID) (*line, int) {
	l := q.lines[tenant]
	if l == nil {
		l = &line{turn: q.turn}
		q.lines[tenant] = l
	}
	place := slices.IndexFunc(l.keys, func(s standing) bool { return s.key == key })
	if place < 0 {
		place = len(l.keys)
		l.keys = append(l.keys, standing{key: key})
	}
	return l, place
}

// ahead returns how many keys have their turn before the one at a place of a line.
func (q *queue) ahead(mine *line, place int, now time.Time) int {
	turn := mine.turn + float64(place)
	ahead := place
	q.each(now, func(l *line) {
		if l != mine {
			ahead += min(len(l.keys), int(math.Ceil(max(0, turn-l.turn))))
		}
	})
	return ahead
}

// count returns how many keys wait, or most if there are more.
func (q *queue) count(now time.Time, most int) (count int) {
	q.each(now, func(l *line) { count += len(l.keys) })
	return min(count, most)
}

// each goes through the lines, and takes out keys that are not expected any more, and lines that say nothing any more.
func (q *queue) each(now time.Time, do func(*line)) {
	compared := 0
	for tenant, l := range q.lines {
		l.keys = slices.DeleteFunc(l.keys, func(s standing) bool { return !s.until.IsZero() && now.After(s.until) })
		if len(l.keys) == 0 && l.turn <= q.turn {
			delete(q.lines, tenant)
			continue
		}
		do(l)
		if compared == mostCompared {
			return
		}
		compared++
	}
}
