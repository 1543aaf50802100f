package usage

import (
	"sync"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// TestMetersLoseNothing has many use a credential while it is looked at. With -race it also says that none of this needs a
// lock.
func TestMetersLoseNothing(t *testing.T) {
	const users, times = 8, 20_000
	var n numbers
	meters := map[index.Meter]*meter{}
	for range 3 {
		number, m := n.give(0, noon)
		meters[number] = m
	}
	var all sync.WaitGroup
	for user := range users {
		all.Go(func() {
			for time := range times {
				n.used(index.Meter(1+(user+time)%len(meters)), second(time))
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	seen := map[index.Meter]int64{}
	look := func() {
		n.look(1000, func(number index.Meter, m *meter) { seen[number] = max(seen[number], m.used.Load()) })
	}
	for running := true; running; {
		look()
		select {
		case <-done:
			running = false
		default:
		}
	}
	look()
	for number, m := range meters {
		if got := m.used.Load(); got < second(times-3).Unix() || seen[number] != got {
			t.Errorf("used at %d, seen %d", got, seen[number])
		}
	}
}

func second(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }

func TestUsedAllocatesNothing(t *testing.T) {
	var n numbers
	number, _ := n.give(0, noon)
	times := 0
	if got := testing.AllocsPerRun(1000, func() {
		times++
		n.used(number, second(times))
		n.look(1000, func(index.Meter, *meter) {})
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkUsed(b *testing.B) {
	var n numbers
	number, _ := n.give(0, noon)
	b.ReportAllocs()
	for b.Loop() {
		n.used(number, noon)
	}
}
