package usage

import (
	"container/heap"
	"time"
)

// queue holds the objects that are to be written. Those that have to wait are ordered by when they may be written, the
// others by the age of their status, the oldest first.
type queue struct {
	waiting, ready objectHeap
}

// pendingWrite is the position of an object in the queue, and the state of its write.
type pendingWrite struct {
	heap     *objectHeap
	position int
	since    time.Time
	// notBefore is the earliest time at which the object may be written.
	notBefore time.Time
	// order is the time in status that the ready objects are ordered by, in seconds since 1970.
	order int64
	// busy reports whether a write is under way. attempts counts those that failed in a row.
	busy     bool
	attempts int
}

func (p *pendingWrite) queued() bool { return p != nil && (p.heap != nil || p.busy) }

func (q *queue) len() int { return len(q.waiting.objects) + len(q.ready.objects) }

// add puts an object into the queue. It must not be there already.
func (q *queue) add(o *object, since, notBefore time.Time, order int64) {
	o.since, o.notBefore, o.order = since, notBefore, order
	q.waiting.before, q.ready.before = sooner, older
	if notBefore.After(since) {
		heap.Push(&q.waiting, o)
	} else {
		heap.Push(&q.ready, o)
	}
}

// promote makes up to limit objects ready that have waited long enough, and reports whether there are more.
func (q *queue) promote(now time.Time, limit int) (more bool) {
	for len(q.waiting.objects) > 0 && !q.waiting.objects[0].notBefore.After(now) {
		limit--
		if limit < 0 {
			return true
		}
		o := q.waiting.objects[0]
		heap.Remove(&q.waiting, 0)
		heap.Push(&q.ready, o)
	}
	return false
}

// next removes and returns the next object that may be written, or returns nil.
func (q *queue) next() *object {
	if len(q.ready.objects) == 0 {
		return nil
	}
	o := q.ready.objects[0]
	heap.Remove(&q.ready, 0)
	return o
}

func (q *queue) remove(o *object) {
	if o.pendingWrite != nil && o.heap != nil {
		heap.Remove(o.heap, o.position)
	}
}

// waitingSince returns when the longest waiting object was put into the queue, or the zero time.
func (q *queue) waitingSince() (since time.Time) {
	for _, objects := range [...][]*object{q.waiting.objects, q.ready.objects} {
		for _, o := range objects {
			if since.IsZero() || o.since.Before(since) {
				since = o.since
			}
		}
	}
	return since
}

func sooner(a, b *object) bool { return a.notBefore.Before(b.notBefore) }

func older(a, b *object) bool {
	if a.order != b.order {
		return a.order < b.order
	}
	return a.since.Before(b.since)
}

// objectHeap is a heap of objects. It keeps their positions in it up to date.
type objectHeap struct {
	objects []*object
	before  func(a, b *object) bool
}

func (l *objectHeap) Len() int           { return len(l.objects) }
func (l *objectHeap) Less(i, j int) bool { return l.before(l.objects[i], l.objects[j]) }

func (l *objectHeap) Swap(i, j int) {
	l.objects[i], l.objects[j] = l.objects[j], l.objects[i]
	l.objects[i].position, l.objects[j].position = i, j
}

// Push implements heap.Interface.
func (l *objectHeap) Push(x any) {
	o := x.(*object) //nolint:errcheck,forcetypeassert // Nothing else is pushed.
	o.heap, o.position = l, len(l.objects)
	l.objects = append(l.objects, o)
}

// Pop implements heap.Interface.
func (l *objectHeap) Pop() any {
	last := len(l.objects) - 1
	o := l.objects[last]
	l.objects[last] = nil
	l.objects = l.objects[:last]
	o.heap = nil
	return o
}
