package usage

import (
	"sync/atomic"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// idle is how long a number is nobody's before it is another meter's. A decision that found it in the index before notes its
// use long before then.
const idle = time.Minute

// numbers has the meters by the number that the index has of each. Readers never lock; the writer holds the recorder's lock.
type numbers struct {
	meters  atomic.Pointer[[]atomic.Pointer[meter]]
	last    index.Meter
	resting []resting
}

type resting struct {
	number index.Meter
	since  time.Time
}

// at returns the meter of a number, or nil where it is nobody's.
func (n *numbers) at(number index.Meter) *meter {
	meters := n.meters.Load()
	if meters == nil || int(number) >= len(*meters) {
		return nil
	}
	return (*meters)[number].Load()
}

// give gives a meter a number that it keeps until it is taken back. None is 0.
func (n *numbers) give(m *meter, now time.Time) {
	if len(n.resting) > 0 && now.Sub(n.resting[0].since) >= idle {
		m.number, n.resting = n.resting[0].number, n.resting[1:]
	} else {
		n.last++
		m.number = n.last
	}
	meters := n.meters.Load()
	if meters == nil || int(m.number) >= len(*meters) {
		grown := make([]atomic.Pointer[meter], max(64, 2*int(m.number)))
		for i := range m.number {
			grown[i].Store(n.at(i))
		}
		meters = &grown
		n.meters.Store(meters)
	}
	(*meters)[m.number].Store(m)
}

func (n *numbers) take(m *meter, now time.Time) {
	(*n.meters.Load())[m.number].Store(nil)
	n.resting = append(n.resting, resting{m.number, now})
}
