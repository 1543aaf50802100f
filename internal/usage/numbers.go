package usage

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
)

const (
	// idle is how long a number is nobody's before it is another credential's. A decision that found it in the index before
	// notes its use long before then.
	idle = time.Minute
	// together is how many meters are in one piece of memory.
	together = 512
	// nobodys is what status says of a meter that is no credential's: nothing is later.
	nobodys = math.MaxInt64 / 2
)

// numbers has the meters by the number that the index has of each, and a stack of those that have been used. Readers never
// lock; the writer holds the recorder's lock.
type numbers struct {
	shelf   atomic.Pointer[shelf]
	last    index.Meter
	resting []resting
	// top is the number of the meter that was used last, of those that have been since the last look; 0 for none. Each has the
	// number of the one before it.
	top atomic.Uint32
	// rest is the top of those that have been taken off and not looked at.
	rest index.Meter
}

// shelf is where meters are. Of most uses there is nothing to note, so when there is again stands beside the meters, in 4
// bytes each: with many keys, a meter itself is as good as a miss of the processor's caches. None of it has a pointer to
// anything of a single credential, and no meter ever moves.
type shelf struct {
	// next is from when on a use is news, in seconds since 1970, as far as a use has told.
	next   []atomic.Uint32
	meters []*[together]meter
}

// meter notes the uses of one credential.
type meter struct {
	used atomic.Int64
	// written is what status says. It is the writer's to change.
	written atomic.Int64
	// hash is that of the name of the credential's object, by which that is found.
	hash uint64
	// queued says that the meter is on the stack, before link.
	queued atomic.Bool
	link   index.Meter
}

type resting struct {
	number index.Meter
	since  time.Time
}

func (s *shelf) at(number index.Meter) *meter { return &s.meters[number/together][number%together] }

// at returns the meter of a number that was given.
func (n *numbers) at(number index.Meter) *meter { return n.shelf.Load().at(number) }

// used notes a use of the meter of a number, which may be nobody's.
func (n *numbers) used(number index.Meter, now time.Time) {
	s := n.shelf.Load()
	if s == nil || int(number) >= len(s.next) || now.Unix() < int64(s.next[number].Load()) || number == 0 {
		return
	}
	m := s.at(number)
	next, news := m.note(now.Unix())
	// After used: whoever takes the meter off the stack first says so, and then reads used.
	if news && m.queued.CompareAndSwap(false, true) {
		n.push(number, m)
	}
	s.next[number].Store(uint32(min(next, math.MaxUint32))) //nolint:gosec // It is not before 1970.
}

// note notes a use, and returns from when on the next is news. It says whether this one was.
func (m *meter) note(second int64) (next int64, news bool) {
	if next = m.written.Load() + resolution; second < next {
		return next, false
	}
	for {
		used := m.used.Load()
		if second <= used {
			return used + 1, false
		}
		if m.used.CompareAndSwap(used, second) {
			return second + 1, true
		}
	}
}

// due says whether there is a use to be written.
func (m *meter) due() bool { return m.used.Load() >= m.written.Load()+resolution }

// know takes in what status says. It never goes back: what comes from the watch may be older than what was just written.
func (m *meter) know(written int64) {
	if written > m.written.Load() {
		m.written.Store(written)
	}
}

// ahead reports whether a meter, which is some credential's, has a time that has not come. Its process's clock was wrong until now.
func (m *meter) ahead(now int64) bool {
	return bounded(m.used.Load(), now) == 0 && m.used.Load() != 0 || bounded(m.written.Load(), now) == 0 && m.written.Load() != 0
}

// reset has a meter begin anew, with a use of that time.
func (n *numbers) reset(number index.Meter, used int64) {
	m := n.at(number)
	m.used.Store(used)
	m.written.Store(0)
	n.shelf.Load().next[number].Store(0)
}

// bounded returns a time of which status says that something was used then, or 0 where that time has not come: whoever wrote it has
// another clock, or lies, and what has truly been used since must be written. Clocks may differ by the resolution.
func bounded(second, now int64) int64 {
	if second > now+resolution {
		return 0
	}
	return second
}

func (n *numbers) push(number index.Meter, m *meter) {
	for {
		top := n.top.Load()
		m.link = index.Meter(top)
		if n.top.CompareAndSwap(top, uint32(number)) {
			return
		}
	}
}

// look takes a number of meters off the stack, and says whether there are more.
func (n *numbers) look(most int, each func(number index.Meter, m *meter)) (more bool) {
	if n.rest == 0 {
		n.rest = index.Meter(n.top.Swap(0))
	}
	for ; n.rest != 0 && most > 0; most-- {
		number := n.rest
		m := n.at(number)
		n.rest = m.link
		m.queued.Store(false)
		each(number, m)
	}
	return n.rest != 0
}

// give returns a number, and the meter that has it, which is the caller's until it is taken back.
func (n *numbers) give(hash uint64, now time.Time) (index.Meter, *meter) {
	var number index.Meter
	if len(n.resting) > 0 && now.Sub(n.resting[0].since) >= idle {
		number, n.resting = n.resting[0].number, n.resting[1:]
	} else {
		n.last++
		number = n.last
	}
	s := n.shelf.Load()
	if s == nil || int(number) >= len(s.next) {
		s = s.grown(max(together, 2*int(number)))
		n.shelf.Store(s)
	}
	if s.meters[number/together] == nil {
		s.meters[number/together] = new([together]meter)
	}
	m := s.at(number)
	m.hash = hash
	m.used.Store(0)
	m.written.Store(0)
	s.next[number].Store(0)
	return number, m
}

// grown returns a shelf that is longer. What is told of next is forgotten: the next use tells it again.
func (s *shelf) grown(length int) *shelf {
	grown := &shelf{next: make([]atomic.Uint32, length), meters: make([]*[together]meter, (length+together-1)/together)}
	if s != nil {
		copy(grown.meters, s.meters)
	}
	return grown
}

func (n *numbers) take(number index.Meter, now time.Time) {
	n.at(number).written.Store(nobodys)
	n.resting = append(n.resting, resting{number, now})
}
