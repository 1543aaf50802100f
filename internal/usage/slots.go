package usage

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
)

const (
	// reuseAfter is how long a released slot belongs to nobody before another credential gets it. A decision that has
	// read its number from the index records the use long before then.
	reuseAfter = time.Minute
	// chunkSize is how many slots are allocated together.
	chunkSize = 512
	// unowned is the written time of a slot that belongs to no credential. It is later than any use.
	unowned = math.MaxInt64 / 2
)

// slots holds the usage slots by number, and a stack of those that have been used. Readers never lock; the writer holds
// the recorder's lock.
type slots struct {
	table    atomic.Pointer[slotTable]
	highest  index.UsageSlot
	released []releasedSlot
	// top is the number of the slot on top of the stack, or 0 if it is empty. Each slot links to the one below it.
	top atomic.Uint32
	// unread is the top of a part of the stack that popUsed has detached and not yet read.
	unread index.UsageSlot
}

// slotTable is the memory of all slots. Most uses come too soon after the last to be recorded. So the time of the next
// one that counts stands in an array of its own, in 4 bytes per slot: with many keys, touching a slot itself nearly
// always misses the processor's caches. The table has no pointers to single credentials, and no slot ever moves.
type slotTable struct {
	// next is the earliest time, in seconds since 1970, at which a use of a slot counts. Uses update it.
	next   []atomic.Uint32
	chunks []*[chunkSize]slot
}

// slot records the uses of one credential.
type slot struct {
	used atomic.Int64
	// written is the time in status. Only the writer changes it.
	written atomic.Int64
	// hash is the hash of the name of the credential's object. The idle store finds the object by it.
	hash uint64
	// stacked reports whether the slot is on the stack. link is then the slot below it.
	stacked atomic.Bool
	link    index.UsageSlot
}

type releasedSlot struct {
	slot  index.UsageSlot
	since time.Time
}

func (t *slotTable) at(number index.UsageSlot) *slot {
	return &t.chunks[number/chunkSize][number%chunkSize]
}

// at returns a slot that was acquired, by its number.
func (n *slots) at(number index.UsageSlot) *slot { return n.table.Load().at(number) }

// recordUse records a use of a slot, which may belong to nobody.
func (n *slots) recordUse(number index.UsageSlot, now time.Time) {
	t := n.table.Load()
	if t == nil || int(number) >= len(t.next) || now.Unix() < int64(t.next[number].Load()) || number == 0 {
		return
	}
	s := t.at(number)
	next, news := s.record(now.Unix())
	// The order matters: record sets used before this, and popUsed clears stacked before it reads used.
	if news && s.stacked.CompareAndSwap(false, true) {
		n.push(number, s)
	}
	t.next[number].Store(uint32(min(next, math.MaxUint32))) //nolint:gosec // It is not before 1970.
}

// record records a use. It returns the earliest time at which the next use counts, and whether this one did.
func (s *slot) record(second int64) (next int64, news bool) {
	if next = s.written.Load() + resolution; second < next {
		return next, false
	}
	for {
		used := s.used.Load()
		if second <= used {
			return used + 1, false
		}
		if s.used.CompareAndSwap(used, second) {
			return second + 1, true
		}
	}
}

// due reports whether the slot has a use to be written.
func (s *slot) due() bool { return s.used.Load() >= s.written.Load()+resolution }

// observeWritten updates the time in status. It never moves back, because an event of the watch may be older than the
// replica's own last write.
func (s *slot) observeWritten(written int64) {
	if written > s.written.Load() {
		s.written.Store(written)
	}
}

// inFuture reports whether a slot that belongs to a credential has a time in the future. That happens after the clock
// of this process was corrected.
func (s *slot) inFuture(now int64) bool {
	used, written := s.used.Load(), s.written.Load()
	return used != 0 && bounded(used, now) == 0 || written != 0 && bounded(written, now) == 0
}

// reset clears a slot and sets the time of its last use.
func (n *slots) reset(number index.UsageSlot, used int64) {
	s := n.at(number)
	s.used.Store(used)
	s.written.Store(0)
	n.table.Load().next[number].Store(0)
}

// bounded returns a time from status, or 0 if it is in the future. Whoever wrote such a time has a wrong clock, or
// lies, and real uses must replace it. Clocks may differ by up to the resolution.
func bounded(second, now int64) int64 {
	if second > now+resolution {
		return 0
	}
	return second
}

func (n *slots) push(number index.UsageSlot, s *slot) {
	for {
		top := n.top.Load()
		s.link = index.UsageSlot(top)
		if n.top.CompareAndSwap(top, uint32(number)) {
			return
		}
	}
}

// popUsed takes up to limit slots off the stack, and reports whether there are more.
func (n *slots) popUsed(limit int, each func(number index.UsageSlot, s *slot)) (more bool) {
	if n.unread == 0 {
		n.unread = index.UsageSlot(n.top.Swap(0))
	}
	for ; n.unread != 0 && limit > 0; limit-- {
		number := n.unread
		s := n.at(number)
		n.unread = s.link
		s.stacked.Store(false)
		each(number, s)
	}
	return n.unread != 0
}

// acquire returns a slot and its number. It belongs to the caller until it is released.
func (n *slots) acquire(hash uint64, now time.Time) (index.UsageSlot, *slot) {
	var number index.UsageSlot
	if len(n.released) > 0 && now.Sub(n.released[0].since) >= reuseAfter {
		number, n.released = n.released[0].slot, n.released[1:]
	} else {
		n.highest++
		number = n.highest
	}
	t := n.table.Load()
	if t == nil || int(number) >= len(t.next) {
		t = t.grown(max(chunkSize, 2*int(number)))
		n.table.Store(t)
	}
	if t.chunks[number/chunkSize] == nil {
		t.chunks[number/chunkSize] = new([chunkSize]slot)
	}
	s := t.at(number)
	s.hash = hash
	s.used.Store(0)
	s.written.Store(0)
	t.next[number].Store(0)
	return number, s
}

// grown returns a longer table. It starts with empty next times, which the next uses fill in again.
func (t *slotTable) grown(length int) *slotTable {
	grown := &slotTable{
		next:   make([]atomic.Uint32, length),
		chunks: make([]*[chunkSize]slot, (length+chunkSize-1)/chunkSize),
	}
	if t != nil {
		copy(grown.chunks, t.chunks)
	}
	return grown
}

// release takes a slot back. From then on its uses are not recorded.
func (n *slots) release(number index.UsageSlot, now time.Time) {
	n.at(number).written.Store(unowned)
	n.released = append(n.released, releasedSlot{number, now})
}
