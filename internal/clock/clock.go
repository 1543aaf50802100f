// Package clock has a clock for decisions that must not be taken back: one by which what has expired stays expired,
// whatever happens to the machine's wall clock.
//
// Wall clocks are set: by hand, by NTP, by a hypervisor. Set back, one would revive keys that have expired. The monotonic
// clock can't be set, but stands still while a virtual machine is suspended. So what counts is the wall clock, as far as it
// goes forward; where it goes back, the time before that, and what has gone by since on the monotonic clock.
package clock

import (
	"sync/atomic"
	"time"
)

// Clock never goes back, and never slower than either of the machine's two clocks. It may be read by many at once.
type Clock struct {
	read func() (wall time.Time, elapsed time.Duration)
	// epoch is the wall clock's time when nothing had elapsed.
	epoch time.Time
	// lead is the most that the wall clock has been ahead of epoch and what has elapsed since, in nanoseconds.
	lead atomic.Int64
}

// New returns a clock over one whose times have a monotonic reading, as those of time.Now do.
func New(now func() time.Time) *Clock {
	start := now()
	return From(start, func() (time.Time, time.Duration) {
		t := now()
		return t, t.Sub(start)
	})
}

// From returns a clock over a machine's two: read returns the wall clock's time, and what has elapsed on the monotonic clock
// since the wall clock's was epoch.
func From(epoch time.Time, read func() (time.Time, time.Duration)) *Clock {
	return &Clock{read: read, epoch: epoch.Round(0)}
}

// Now returns the time. After the wall clock has been set back, it goes on from before that: it is ahead of the wall clock
// from then on.
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
