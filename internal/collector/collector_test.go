package collector

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestAdjust follows a heap that grows and shrinks.
func TestAdjust(t *testing.T) {
	const mib = 1 << 20
	live, set := 0, 0
	p := &pace{percent: least, live: func() int { return live }, set: func(percent int) { set = percent }}
	for _, step := range []struct {
		live int
		want int // 0 where nothing is set
	}{
		{0, 800}, {4 * mib, 0}, {4*mib + mib/4, 0}, {16 * mib, 200}, {31 * mib, 103}, {32 * mib, 100}, {256 * mib, 0}, {2 * mib, 800},
	} {
		live, set = step.live, 0
		p.adjust()
		if set != step.want {
			t.Errorf("%d MiB live: set %d, want %d", step.live/mib, set, step.want)
		}
	}
}

// TestAdjustContained follows a contained heap, whose growth is bounded once much lives in it.
func TestAdjustContained(t *testing.T) {
	const mib = 1 << 20
	for live, want := range map[int]int{4 * mib: 800, 32 * mib: least, 64 * mib: 50, 128 * mib: 25, 256 * mib: 12, 1024 * mib: lowest} {
		set := least
		p := &pace{percent: least, most: room, live: func() int { return live }, set: func(percent int) { set = percent }}
		p.adjust()
		if set < want-1 || set > want+1 {
			t.Errorf("%d MiB live: set %d, want %d", live/mib, set, want)
		}
	}
}

// TestAdjustSparing follows a heap while memory is to be spared: a small one may grow as ever.
func TestAdjustSparing(t *testing.T) {
	const mib = 1 << 20
	Spare(true)
	t.Cleanup(func() { Spare(false) })
	for live, want := range map[int]int{4 * mib: 800, 32 * mib: spared, 256 * mib: spared} {
		set := least
		p := &pace{percent: least, live: func() int { return live }, set: func(percent int) { set = percent }}
		p.adjust()
		if set != want {
			t.Errorf("%d MiB live: set %d, want %d", live/mib, set, want)
		}
		Spare(false)
		p.adjust()
		if set != max(want, least) {
			t.Errorf("%d MiB live, sparing no more: set %d", live/mib, set)
		}
		Spare(true)
	}
}

// TestEveryCollectionAdjusts checks that the runtime calls back, and goes on to.
func TestEveryCollectionAdjusts(t *testing.T) {
	adjusted := make(chan struct{}, 8)
	p := &pace{percent: least, set: func(int) {}, live: func() int {
		select {
		case adjusted <- struct{}{}:
		default:
		}
		return 0
	}}
	p.afterNext()
	for range 3 {
		runtime.GC()
		select {
		case <-adjusted:
		case <-time.After(30 * time.Second):
			t.Fatal("a collection has passed unnoticed")
		}
	}
}

// TestRelax checks that GOGC is somebody else's where it is set.
func TestRelax(t *testing.T) {
	before := debug.SetGCPercent(least)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	t.Setenv("GOGC", "77")
	Relax()
	if got := debug.SetGCPercent(least); got != least {
		t.Errorf("GOGC=77: set %d", got)
	}
	if err := os.Unsetenv("GOGC"); err != nil {
		t.Fatal(err)
	}
	Relax()
	if got := debug.SetGCPercent(least); got <= least {
		t.Errorf("set %d", got)
	}
}
