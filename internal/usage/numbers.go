package usage

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// idle is how long a number is nobody's before it is another meter's. A decision that found it in the index before notes its
// use long before then.
const idle = time.Minute

// numbers has the meters by the number that the index has of each. Readers never lock; the writer holds the recorder's lock.
type numbers struct {
	shelf   atomic.Pointer[shelf]
	last    index.Meter
	resting []resting
}

// shelf is where meters are. Of most uses there is nothing to note, so when there is again stands beside the meters, in 4
// bytes each: with many keys, a meter itself is as good as a miss of the processor's caches.
type shelf struct {
	// next is from when on a use is news, in seconds since 1970, as far as a use has told.
	next   []atomic.Uint32
	meters []atomic.Pointer[meter]
}

type resting struct {
	number index.Meter
	since  time.Time
}

// used notes a use of the meter of a number, which may be nobody's.
func (n *numbers) used(number index.Meter, now time.Time) {
	s := n.shelf.Load()
	if s == nil || int(number) >= len(s.next) || now.Unix() < int64(s.next[number].Load()) {
		return
	}
	if m := s.meters[number].Load(); m != nil {
		s.next[number].Store(uint32(min(m.Used(now), math.MaxUint32))) //nolint:gosec // It is not before 1970.
	}
}

// at returns the meter of a number, or nil where it is nobody's.
func (n *numbers) at(number index.Meter) *meter {
	s := n.shelf.Load()
	if s == nil || int(number) >= len(s.meters) {
		return nil
	}
	return s.meters[number].Load()
}

// give gives a meter a number that it keeps until it is taken back. None is 0.
func (n *numbers) give(m *meter, now time.Time) {
	if len(n.resting) > 0 && now.Sub(n.resting[0].since) >= idle {
		m.number, n.resting = n.resting[0].number, n.resting[1:]
	} else {
		n.last++
		m.number = n.last
	}
	s := n.shelf.Load()
	if s == nil || int(m.number) >= len(s.meters) {
		length := max(64, 2*int(m.number))
		grown := &shelf{next: make([]atomic.Uint32, length), meters: make([]atomic.Pointer[meter], length)}
		for i := range m.number {
			grown.meters[i].Store(n.at(i)) // What is told of next is forgotten: the next use tells it again.
		}
		n.shelf.Store(grown)
		s = grown
	}
	s.next[m.number].Store(0)
	s.meters[m.number].Store(m)
}

func (n *numbers) take(m *meter, now time.Time) {
	n.shelf.Load().meters[m.number].Store(nil)
	n.resting = append(n.resting, resting{m.number, now})
}
