package usage

import (
	"sync"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// TestReleasedSlotsAreReusedLater checks that a released slot belongs to nobody for a while. A decision that has just
// read its number from the index must not record a use of another credential.
func TestReleasedSlotsAreReusedLater(t *testing.T) {
	var n slots
	first, slotOfFirst := n.acquire(0, noon)
	if first == 0 || n.at(first) != slotOfFirst {
		t.Fatal("the number is that of another slot")
	}
	n.release(first, noon)
	n.recordUse(first, noon)
	if slotOfFirst.used.Load() != 0 || n.popUsed(1, func(index.UsageSlot, *slot) { t.Error("there is a used slot") }) {
		t.Error("a use of a released slot is recorded")
	}
	second, slotOfSecond := n.acquire(0, noon.Add(reuseAfter-time.Nanosecond))
	third, slotOfThird := n.acquire(0, noon.Add(reuseAfter))
	if second == first || third != first {
		t.Errorf("numbers %d, %d and %d", first, second, third)
	}
	for range 1000 {
		n.acquire(0, noon.Add(reuseAfter))
	}
	if n.at(second) != slotOfSecond || n.at(third) != slotOfThird || n.at(1002) == nil || n.highest != 1002 {
		t.Error("a slot is lost when more are added")
	}
}

// TestUsesAreRecordedOncePerSecond checks that uses are recorded at most once per second and only if they are later
// than status by the resolution, and that this starts afresh for the next credential with the slot.
func TestUsesAreRecordedOncePerSecond(t *testing.T) {
	var n slots
	n.recordUse(1, noon) // There is no such slot yet.
	n.recordUse(0, noon)
	first, s := n.acquire(0, noon)
	n.recordUse(0, noon) // Slot 0 belongs to no credential.
	want := func(used time.Time) {
		t.Helper()
		if got := s.used.Load(); got != used.Unix() {
			t.Errorf("used at %s, want %s", time.Unix(got, 0).UTC(), used)
		}
	}
	for _, at := range []time.Duration{0, 500 * time.Millisecond, time.Second} {
		n.recordUse(first, noon.Add(at))
		want(noon.Add(at.Truncate(time.Second)))
	}
	n.recordUse(first, noon) // A clock that goes back.
	want(noon.Add(time.Second))

	s.observeWritten(noon.Add(time.Second).Unix())
	n.recordUse(first, noon.Add(Resolution))
	n.recordUse(first, noon.Add(Resolution))
	want(noon.Add(time.Second))
	n.recordUse(first, noon.Add(Resolution+time.Second))
	want(noon.Add(Resolution + time.Second))

	n.release(first, noon)
	n.recordUse(first, noon.Add(time.Hour))
	want(noon.Add(Resolution + time.Second))
	second, s2 := n.acquire(0, noon.Add(reuseAfter))
	if second != first || s2 != s {
		t.Fatalf("number %d, want %d", second, first)
	}
	n.recordUse(second, noon)
	want(noon)
}

// TestNoUseIsLostWhileSlotsAreAdded uses slots while others are added, which must not move them.
func TestNoUseIsLostWhileSlotsAreAdded(t *testing.T) {
	const count = 5 * chunkSize
	var n slots
	var uses sync.WaitGroup
	for range count {
		number, _ := n.acquire(0, noon)
		uses.Go(func() { n.recordUse(number, noon) })
	}
	uses.Wait()
	seen := map[index.UsageSlot]bool{}
	for more := true; more; {
		more = n.popUsed(100, func(number index.UsageSlot, s *slot) { seen[number] = s.due() })
	}
	for number := range index.UsageSlot(count) {
		if !seen[number+1] {
			t.Fatalf("the use of %d is lost", number+1)
		}
	}
}
