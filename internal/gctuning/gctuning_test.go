package gctuning

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
	gc := &tuner{percent: defaultGOGC, live: func() int { return live }, set: func(percent int) { set = percent }}
	for _, step := range []struct {
		live int
		want int // 0 if GOGC must not change
	}{
		{0, 800}, {4 * mib, 0}, {4*mib + mib/4, 0}, {16 * mib, 200}, {31 * mib, 103}, {32 * mib, 100}, {256 * mib, 0},
		{2 * mib, 800},
	} {
		live, set = step.live, 0
		gc.adjust()
		if set != step.want {
			t.Errorf("%d MiB live: set %d, want %d", step.live/mib, set, step.want)
		}
	}
}

// TestAdjustBounded checks that the growth of a large heap is bounded after RelaxBounded.
func TestAdjustBounded(t *testing.T) {
	const mib = 1 << 20
	for live, want := range map[int]int{
		4 * mib: 800, 32 * mib: defaultGOGC, 64 * mib: 50, 128 * mib: 25, 256 * mib: 12, 1024 * mib: minGOGC,
	} {
		set := defaultGOGC
		gc := &tuner{
			percent: defaultGOGC, maxGrowth: boundedGrowth,
			live: func() int { return live }, set: func(percent int) { set = percent },
		}
		gc.adjust()
		if set < want-1 || set > want+1 {
			t.Errorf("%d MiB live: set %d, want %d", live/mib, set, want)
		}
	}
}

// TestAdjustSaving checks that SaveMemory changes GOGC for a large heap only.
func TestAdjustSaving(t *testing.T) {
	const mib = 1 << 20
	SaveMemory(true)
	t.Cleanup(func() { SaveMemory(false) })
	for live, want := range map[int]int{4 * mib: 800, 32 * mib: savingGOGC, 256 * mib: savingGOGC} {
		set := defaultGOGC
		gc := &tuner{percent: defaultGOGC, live: func() int { return live }, set: func(percent int) { set = percent }}
		gc.adjust()
		if set != want {
			t.Errorf("%d MiB live: set %d, want %d", live/mib, set, want)
		}
		SaveMemory(false)
		gc.adjust()
		if set != max(want, defaultGOGC) {
			t.Errorf("%d MiB live, after SaveMemory(false): set %d", live/mib, set)
		}
		SaveMemory(true)
	}
}

// TestEveryCollectionAdjusts checks that each collection of several calls back.
func TestEveryCollectionAdjusts(t *testing.T) {
	adjusted := make(chan struct{}, 8)
	gc := &tuner{percent: defaultGOGC, set: func(int) {}, live: func() int {
		select {
		case adjusted <- struct{}{}:
		default:
		}
		return 0
	}}
	gc.afterNextCollection()
	for range 3 {
		runtime.GC()
		select {
		case <-adjusted:
		case <-time.After(30 * time.Second):
			t.Fatal("a collection did not adjust GOGC")
		}
	}
}

// TestRelax checks that GOGC in the environment takes precedence.
func TestRelax(t *testing.T) {
	before := debug.SetGCPercent(defaultGOGC)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	t.Setenv("GOGC", "77")
	Relax()
	if got := debug.SetGCPercent(defaultGOGC); got != defaultGOGC {
		t.Errorf("GOGC=77: set %d", got)
	}
	if err := os.Unsetenv("GOGC"); err != nil {
		t.Fatal(err)
	}
	Relax()
	if got := debug.SetGCPercent(defaultGOGC); got <= defaultGOGC {
		t.Errorf("set %d", got)
	}
}
