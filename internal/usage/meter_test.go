package usage

import (
	"sync"
	"testing"
	"time"
)

// TestMetersLoseNothing has many use a credential while it is looked at. With -race it also says that none of this needs a
// lock.
func TestMetersLoseNothing(t *testing.T) {
	const users, times = 8, 20_000
	var s stack
	meters := []*meter{{stack: &s}, {stack: &s}, {stack: &s}}
	var all sync.WaitGroup
	for user := range users {
		all.Go(func() {
			for n := range times {
				meters[(user+n)%len(meters)].Used(time.Unix(int64(1+n), 0))
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	seen := map[*meter]int64{}
	look := func() { s.take(1000, func(m *meter) { seen[m] = max(seen[m], m.used.Load()) }) }
	for running := true; running; {
		look()
		select {
		case <-done:
			running = false
		default:
		}
	}
	look()
	for _, m := range meters {
		if got := m.used.Load(); got < times-2 || seen[m] != got {
			t.Errorf("used at %d, seen %d", got, seen[m])
		}
	}
}

func TestUsedAllocatesNothing(t *testing.T) {
	var s stack
	m := &meter{stack: &s}
	second := int64(0)
	if got := testing.AllocsPerRun(1000, func() {
		second++
		m.Used(time.Unix(second, 0))
		s.take(1000, func(*meter) {})
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkUsed(b *testing.B) {
	var s stack
	m := &meter{stack: &s}
	b.ReportAllocs()
	for b.Loop() {
		m.Used(noon)
	}
}
