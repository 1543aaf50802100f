package clock

import (
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// machine has the two clocks of a computer.
type machine struct {
	wall    time.Time
	elapsed time.Duration
}

func (m *machine) read() (time.Time, time.Duration) { return m.wall, m.elapsed }

// runs advances both clocks.
func (m *machine) runs(d time.Duration) {
	m.wall = m.wall.Add(d)
	m.elapsed += d
}

// set sets the wall clock.
func (m *machine) set(by time.Duration) { m.wall = m.wall.Add(by) }

func TestClock(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(*machine, func())
		want    time.Duration // after noon
	}{
		"time goes by":          {func(m *machine, _ func()) { m.runs(time.Minute) }, time.Minute},
		"set forward":           {func(m *machine, _ func()) { m.set(time.Hour) }, time.Hour},
		"suspended for an hour": {func(m *machine, _ func()) { m.set(time.Hour) }, time.Hour},
		"set back":              {func(m *machine, _ func()) { m.set(-time.Hour) }, 0},
		"set back, and goes on": {func(m *machine, _ func()) { m.set(-time.Hour); m.runs(time.Minute) }, time.Minute},
		"set forward, then right": {func(m *machine, look func()) {
			m.set(time.Hour)
			look()
			m.set(-time.Hour)
			m.runs(time.Minute)
		}, time.Hour + time.Minute},
		"set back, then right": {func(m *machine, look func()) {
			m.set(-time.Hour)
			look()
			m.runs(time.Minute)
			m.set(time.Hour)
		}, time.Minute},
		"set back twice": {func(m *machine, look func()) {
			m.set(-time.Hour)
			look()
			m.set(-time.Hour)
			m.runs(time.Second)
		}, time.Second},
		"set forward twice": {func(m *machine, look func()) {
			m.set(time.Hour)
			look()
			m.set(time.Hour)
		}, 2 * time.Hour},
		"forward, and far back": {func(m *machine, look func()) {
			m.set(time.Hour)
			look()
			m.set(-100 * time.Hour)
			m.runs(time.Second)
		}, time.Hour + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			m := &machine{wall: noon}
			c := From(noon, m.read)
			last := c.Now()
			test.happens(m, func() {
				if now := c.Now(); now.Before(last) {
					t.Errorf("it went back by %s", last.Sub(now))
				} else {
					last = now
				}
			})
			if got := c.Now(); got.Sub(noon) != test.want {
				t.Errorf("it is %s after noon, want %s", got.Sub(noon), test.want)
			}
		})
	}
}

// TestClockKeepsTheMonotonicReading checks that the times have a monotonic reading.
func TestClockKeepsTheMonotonicReading(t *testing.T) {
	c := New(time.Now)
	before := c.Now()
	after := c.Now()
	if after.Before(before) || after.Round(0) == after { //nolint:staticcheck // Round removes the monotonic reading.
		t.Errorf("%s after %s", after, before)
	}
}

// TestConcurrentNow reads a clock concurrently, for the race detector.
func TestConcurrentNow(t *testing.T) {
	var mu sync.Mutex
	n := 0
	c := From(noon, func() (time.Time, time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		n++
		return noon.Add(time.Duration(n%7) * time.Hour), time.Duration(n)
	})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 1000 {
				c.Now()
			}
		})
	}
	group.Wait()
	if got := c.Now(); got.Before(noon.Add(6 * time.Hour)) {
		t.Errorf("it is %s", got)
	}
}
