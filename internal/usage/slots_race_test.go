package usage

import (
	"sync"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// TestNoUseIsLostBetweenReaders uses slots from many goroutines while they are read. With -race it also shows that none
// of this needs a lock.
func TestNoUseIsLostBetweenReaders(t *testing.T) {
	const users, times = 8, 20_000
	var n slots
	acquired := map[index.UsageSlot]*slot{}
	for range 3 {
		number, s := n.acquire(0, noon)
		acquired[number] = s
	}
	var all sync.WaitGroup
	for user := range users {
		all.Go(func() {
			for time := range times {
				n.recordUse(index.UsageSlot(1+(user+time)%len(acquired)), atSecond(time))
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	seen := map[index.UsageSlot]int64{}
	read := func() {
		n.popUsed(1000, func(number index.UsageSlot, s *slot) { seen[number] = max(seen[number], s.used.Load()) })
	}
	for running := true; running; {
		read()
		select {
		case <-done:
			running = false
		default:
		}
	}
	read()
	for number, s := range acquired {
		if got := s.used.Load(); got < atSecond(times-3).Unix() || seen[number] != got {
			t.Errorf("used at %d, seen %d", got, seen[number])
		}
	}
}

func atSecond(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }

func TestRecordUseAllocatesNothing(t *testing.T) {
	var n slots
	number, _ := n.acquire(0, noon)
	times := 0
	if got := testing.AllocsPerRun(1000, func() {
		times++
		n.recordUse(number, atSecond(times))
		n.popUsed(1000, func(index.UsageSlot, *slot) {})
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkRecordUse(b *testing.B) {
	var n slots
	number, _ := n.acquire(0, noon)
	b.ReportAllocs()
	for b.Loop() {
		n.recordUse(number, noon)
	}
}
