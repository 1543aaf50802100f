// Package collector has Go's garbage collector run less often than it does by itself while the heap is small.
//
// By itself it runs when the heap has grown by as much as lives (GOGC=100). A verifier of a few thousand keys has a few
// megabytes that live, and makes as much garbage in a few hundred requests: it would look through everything dozens of times
// a second. What that saves is memory that nobody misses.
//
//	live heap      4 MiB   16 MiB   32 MiB   256 MiB
//	GOGC             800      200      100       100
//	collected at  36 MiB   48 MiB   64 MiB   512 MiB
package collector

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

const (
	// headroom is how much the heap may always grow between two collections, in bytes.
	headroom = 32 << 20
	// smallest is how large a heap the runtime takes one for at least: GOGC=800 lets it grow to 32 MiB before the first collection.
	smallest = 4 << 20
	// room is how much a contained heap may grow, in bytes, once it is as large.
	room = 32 << 20
	// least is GOGC as it is by default; lowest is what it may be in a contained heap, lest nothing but collecting is done.
	least  = 100
	lowest = 10
	// spared is GOGC of a large heap while memory is to be spared.
	spared = 40
)

// sparing says whether memory is to be spared.
var sparing atomic.Bool

// Spare has a large heap grow by less for as long as it is on, from the next collection. It is for times when much garbage comes
// in a short while, beside which nothing else is to be done: what the process has of memory is what it had at such a time.
func Spare(on bool) { sparing.Store(on) }

// Relax lets the heap grow by headroom at least, whatever lives. Where GOGC is set, that stands; GOMEMLIMIT does either way.
func Relax() { begin(0) }

// Contain does so too, and lets a large heap grow by no more than room between two collections. It is for programs that keep
// much and make little garbage: by itself the collector would let that take as much memory as all that is kept.
func Contain() { begin(room) }

func begin(most int) {
	if os.Getenv("GOGC") != "" {
		return
	}
	p := &pace{percent: least, most: most, set: func(percent int) { debug.SetGCPercent(percent) }, live: liveHeap}
	p.adjust()
	p.afterNext()
}

// pace follows the heap.
type pace struct {
	percent int
	// most is how much the heap may grow between two collections, in bytes, where it is large; 0 is as much as lives.
	most int
	set  func(percent int)
	// live returns how much of the heap the last collection has left, in bytes.
	live func() int
}

// adjust sets what the live heap asks for. It costs a moment in which everything stands still, so small changes are none.
func (p *pace) adjust() {
	wanted := least
	switch live := p.live(); {
	case live < headroom:
		wanted = headroom * 100 / max(live, smallest)
	case sparing.Load():
		wanted = spared
	case p.most > 0 && live > p.most:
		wanted = max(p.most/(live/100), lowest)
	}
	if wanted > p.percent*11/10 || wanted < p.percent*9/10 || wanted == least && p.percent != least {
		p.percent = wanted
		p.set(wanted)
	}
}

// mark is something that a collection finds. It has a pointer, so that it does not share its memory with anything.
type mark struct{ _ *mark }

// afterNext adjusts after the next collection, and again after each.
func (p *pace) afterNext() {
	runtime.AddCleanup(&mark{}, func(p *pace) {
		p.adjust()
		p.afterNext()
	}, p)
}

func liveHeap() int {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64()) //nolint:gosec // No heap is as large.
}
