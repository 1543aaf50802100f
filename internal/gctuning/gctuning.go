// Package gctuning makes Go's garbage collector run less often while the heap is small, and keeps the process within
// its container's memory.
//
// By default the collector runs when the heap has grown by as much as was live after the last collection (GOGC=100). A
// verifier with a few thousand keys has a live heap of a few megabytes and allocates as much in a few hundred requests,
// so it would collect dozens of times a second, to save memory that nobody misses.
//
//	live heap      4 MiB   16 MiB   32 MiB   256 MiB
//	GOGC             800      200      100       100
//	collected at  36 MiB   48 MiB   64 MiB   512 MiB
package gctuning

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

const (
	// minGrowth is how many bytes the heap may always grow between two collections.
	minGrowth = 32 << 20
	// minHeap is the smallest live heap that the runtime assumes: with GOGC=800 it first collects at 32 MiB.
	minHeap = 4 << 20
	// boundedGrowth is how many bytes a heap larger than that may grow between two collections, after RelaxBounded.
	boundedGrowth = 32 << 20

	// defaultGOGC is the runtime's default.
	defaultGOGC = 100
	// minGOGC is the lowest value for a bounded heap. With less, the process would do little but collect.
	minGOGC = 10
	// savingGOGC is the value for a large heap during SaveMemory.
	savingGOGC = 40
)

// saving reports whether SaveMemory is on.
var saving atomic.Bool

// SaveMemory makes the collector run more often on a large heap while it is on, starting with the next collection. Use
// it for short periods with much garbage and little other work, because they determine the peak of the process's
// memory.
func SaveMemory(on bool) { saving.Store(on) }

// Relax lets the heap grow by at least 32 MiB between two collections. GOGC takes precedence, and GOMEMLIMIT still
// holds.
func Relax() { start(0) }

// RelaxBounded does what Relax does, and bounds the growth of a large heap, too. It is for programs that keep much data
// and allocate little: by default, the collector would let garbage take as much memory as the data.
func RelaxBounded() { start(boundedGrowth) }

func start(maxGrowth int) {
	if os.Getenv("GOGC") != "" {
		return
	}
	t := &tuner{
		percent: defaultGOGC, maxGrowth: maxGrowth,
		set: func(percent int) { debug.SetGCPercent(percent) }, live: liveHeap,
	}
	t.adjust()
	t.afterNextCollection()
}

// tuner adjusts GOGC to the size of the live heap after each collection.
type tuner struct {
	// percent is the current value of GOGC.
	percent int
	// maxGrowth is how many bytes a large heap may grow between two collections. 0 means no bound.
	maxGrowth int
	// set sets GOGC.
	set func(percent int)
	// live returns the size of the live heap after the last collection, in bytes.
	live func() int
}

// adjust sets GOGC for the current live heap. Setting it stops the world, so small changes are skipped.
func (t *tuner) adjust() {
	wanted := defaultGOGC
	switch live := t.live(); {
	case live < minGrowth:
		wanted = minGrowth * 100 / max(live, minHeap)
	case saving.Load():
		wanted = savingGOGC
	case t.maxGrowth > 0 && live > t.maxGrowth:
		wanted = max(t.maxGrowth/(live/100), minGOGC)
	}
	if wanted > t.percent*11/10 || wanted < t.percent*9/10 || wanted == defaultGOGC && t.percent != defaultGOGC {
		t.percent = wanted
		t.set(wanted)
	}
}

// sentinel is an unreachable object that the next collection frees. Its pointer keeps it out of the tiny allocator,
// where it would share memory with other objects and live as long as they do.
type sentinel struct{ _ *sentinel }

// afterNextCollection adjusts GOGC after the next collection, and after every one that follows.
func (t *tuner) afterNextCollection() {
	runtime.AddCleanup(&sentinel{}, func(t *tuner) {
		t.adjust()
		t.afterNextCollection()
	}, t)
}

func liveHeap() int {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64()) //nolint:gosec // No heap is that large.
}
