// Package clock has a clock that never goes back, so that what has expired stays expired whatever happens to the
// machine's wall clock.
//
// People, NTP and hypervisors set wall clocks. If one is set back, keys that have expired would work again. The
// monotonic clock can't be set, but it stands still while a virtual machine is suspended. So the clock follows the wall
// clock while that goes forward. When it goes back, the clock continues from its last time by the monotonic clock.
package clock

import (
	"sync/atomic"
	"time"
)

// Clock never goes back, and never advances by less than the wall clock or the monotonic clock. It is safe for
// concurrent use.
type Clock struct {
	read func() (wall time.Time, elapsed time.Duration)
	// epoch is the wall clock's time when nothing had elapsed on the monotonic clock.
	epoch time.Time
	// lead is the most that the wall clock has been ahead of the monotonic clock since epoch, in nanoseconds.
	lead atomic.Int64
}

// New returns a clock based on one whose times have a monotonic reading, as those of time.Now have.
func New(now func() time.Time) *Clock {
	start := now()
	return From(start, func() (time.Time, time.Duration) {
		t := now()
		return t, t.Sub(start)
	})
}

// From returns a clock based on a machine's two clocks. Read returns the wall clock's time, and what has elapsed on the
// monotonic clock since the wall clock's was epoch.
func From(epoch time.Time, read func() (time.Time, time.Duration)) *Clock {
	return &Clock{read: read, epoch: epoch.Round(0)}
}

// Now returns the time. Once the wall clock has been set back, it stays ahead of the wall clock.
func (c *Clock) Now() time.Time {
	wall, elapsed := c.read()
	lead := int64(wall.Round(0).Sub(c.epoch) - elapsed)
	for {
		most := c.lead.Load()
		if lead < most {
			return wall.Add(time.Duration(most - lead))
		}
		if lead == most || c.lead.CompareAndSwap(most, lead) {
			return wall
		}
	}
}
