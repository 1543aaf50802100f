package usage

import (
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// TestNumbersRest checks that a number is nobody's for a while before it is another meter's: who found it in the index just
// before must not note a use of another credential.
func TestNumbersRest(t *testing.T) {
	var n numbers
	first, second, third := &meter{}, &meter{}, &meter{}
	n.give(first, noon)
	if n.at(0) != nil || n.at(first.number) != first || n.at(9999) != nil {
		t.Fatal("a number is another's")
	}
	n.take(first, noon)
	if n.at(first.number) != nil {
		t.Error("a number that was taken back is still a meter's")
	}
	n.give(second, noon.Add(idle-time.Nanosecond))
	n.give(third, noon.Add(idle))
	if second.number == first.number || third.number != first.number {
		t.Errorf("numbers %d, %d and %d", first.number, second.number, third.number)
	}
	for range 1000 {
		n.give(&meter{}, noon.Add(idle))
	}
	if n.at(second.number) != second || n.at(third.number) != third || n.at(index.Meter(1002)) == nil {
		t.Error("a meter is lost where there are more")
	}
}

// TestUsesAreNewsOnce checks that a use is noted by its number as the meter itself would: each second once, not before what
// status says asks for it, and by the next meter that has the number from its first use on.
func TestUsesAreNewsOnce(t *testing.T) {
	var n numbers
	var s stack
	first, second := &meter{stack: &s}, &meter{stack: &s}
	n.used(1, noon) // Nobody's.
	n.give(first, noon)
	want := func(m *meter, used time.Time) {
		t.Helper()
		if got := m.used.Load(); got != used.Unix() {
			t.Errorf("used at %s, want %s", time.Unix(got, 0).UTC(), used)
		}
	}
	for _, at := range []time.Duration{0, 500 * time.Millisecond, time.Second} {
		n.used(first.number, noon.Add(at))
		want(first, noon.Add(at.Truncate(time.Second)))
	}
	n.used(first.number, noon) // A clock that goes back.
	want(first, noon.Add(time.Second))

	first.know(noon.Add(time.Second).Unix())
	n.used(first.number, noon.Add(Resolution))
	n.used(first.number, noon.Add(Resolution))
	want(first, noon.Add(time.Second))
	n.used(first.number, noon.Add(Resolution+time.Second))
	want(first, noon.Add(Resolution+time.Second))

	n.take(first, noon)
	n.used(first.number, noon.Add(time.Hour))
	n.give(second, noon.Add(idle))
	n.used(second.number, noon)
	want(first, noon.Add(Resolution+time.Second))
	want(second, noon)
}
