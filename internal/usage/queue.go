package usage

import (
	"container/heap"
	"time"
)

// queue holds the objects that are to be written: those whose time has not come by when it does, the others by whose
// status is the oldest.
type queue struct {
	waiting, ready line
}

// place is where an object is in the queue.
type place struct {
	line  *line
	at    int
	since time.Time
	// notBefore is when it may be written at the earliest.
	notBefore time.Time
	// order is how old its status is, in seconds since 1970.
	order int64
	// busy says that a write is under way; attempts counts those that failed in a row.
	busy     bool
	attempts int
}

func (p *place) queued() bool { return p != nil && (p.line != nil || p.busy) }

func (q *queue) len() int { return len(q.waiting.objects) + len(q.ready.objects) }

// add puts an object that is in neither line into the queue.
func (q *queue) add(o *object, since, notBefore time.Time, order int64) {
	o.since, o.notBefore, o.order = since, notBefore, order
	q.waiting.before, q.ready.before = sooner, older
	if notBefore.After(since) {
		heap.Push(&q.waiting, o)
	} else {
		heap.Push(&q.ready, o)
	}
}

// promote lets a number of those be written whose time has come, and says whether there are more.
func (q *queue) promote(now time.Time, number int) (more bool) {
	for len(q.waiting.objects) > 0 && !q.waiting.objects[0].notBefore.After(now) {
		number--
		if number < 0 {
			return true
		}
		o := q.waiting.objects[0]
		heap.Remove(&q.waiting, 0)
		heap.Push(&q.ready, o)
	}
	return false
}

// next takes the next object out that may be written, or returns nil.
func (q *queue) next() *object {
	if len(q.ready.objects) == 0 {
		return nil
	}
	o := q.ready.objects[0]
	heap.Remove(&q.ready, 0)
	return o
}

func (q *queue) remove(o *object) {
	if o.place != nil && o.line != nil {
		heap.Remove(o.line, o.at)
	}
}

// oldest returns since when the object that waits the longest does.
func (q *queue) oldest() (oldest time.Time) {
	for _, objects := range [...][]*object{q.waiting.objects, q.ready.objects} {
		for _, o := range objects {
			if oldest.IsZero() || o.since.Before(oldest) {
				oldest = o.since
			}
		}
	}
	return oldest
}

func sooner(a, b *object) bool { return a.notBefore.Before(b.notBefore) }

func older(a, b *object) bool {
	if a.order != b.order {
		return a.order < b.order
	}
	return a.since.Before(b.since)
}

// line is a heap.
type line struct {
	objects []*object
	before  func(a, b *object) bool
}

func (l *line) Len() int           { return len(l.objects) }
func (l *line) Less(i, j int) bool { return l.before(l.objects[i], l.objects[j]) }

func (l *line) Swap(i, j int) {
	l.objects[i], l.objects[j] = l.objects[j], l.objects[i]
	l.objects[i].at, l.objects[j].at = i, j
}

// Push implements heap.Interface.
func (l *line) Push(x any) {
	o := x.(*object) //nolint:errcheck,forcetypeassert // Nothing else is pushed.
	o.line, o.at = l, len(l.objects)
	l.objects = append(l.objects, o)
}

// Pop implements heap.Interface.
func (l *line) Pop() any {
	last := len(l.objects) - 1
	o := l.objects[last]
	l.objects[last] = nil
	l.objects = l.objects[:last]
	o.line = nil
	return o
}
