package usage

import (
	"sync"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// TestNumbersRest checks that a number is nobody's for a while before it is another meter's: who found it in the index just
// before must not note a use of another credential.
func TestNumbersRest(t *testing.T) {
	var n numbers
	first, meterOfFirst := n.give(0, noon)
	if first == 0 || n.at(first) != meterOfFirst {
		t.Fatal("a number is another's")
	}
	n.take(first, noon)
	n.used(first, noon)
	if meterOfFirst.used.Load() != 0 || n.look(1, func(index.Meter, *meter) { t.Error("looked at") }) {
		t.Error("a use is noted of a number that was taken back")
	}
	second, meterOfSecond := n.give(0, noon.Add(idle-time.Nanosecond))
	third, meterOfThird := n.give(0, noon.Add(idle))
	if second == first || third != first {
		t.Errorf("numbers %d, %d and %d", first, second, third)
	}
	for range 1000 {
		n.give(0, noon.Add(idle))
	}
	if n.at(second) != meterOfSecond || n.at(third) != meterOfThird || n.at(1002) == nil || n.last != 1002 {
		t.Error("a meter is lost where there are more")
	}
}

// TestUsesAreNewsOnce checks that a use is noted once each second, not before what status says asks for it, and by the next
// credential that has the number from its first use on.
func TestUsesAreNewsOnce(t *testing.T) {
	var n numbers
	n.used(1, noon) // Nobody's.
	n.used(0, noon)
	first, m := n.give(0, noon)
	n.used(0, noon) // That of no credential.
	want := func(used time.Time) {
		t.Helper()
		if got := m.used.Load(); got != used.Unix() {
			t.Errorf("used at %s, want %s", time.Unix(got, 0).UTC(), used)
		}
	}
	for _, at := range []time.Duration{0, 500 * time.Millisecond, time.Second} {
		n.used(first, noon.Add(at))
		want(noon.Add(at.Truncate(time.Second)))
	}
	n.used(first, noon) // A clock that goes back.
	want(noon.Add(time.Second))

	m.know(noon.Add(time.Second).Unix())
	n.used(first, noon.Add(Resolution))
	n.used(first, noon.Add(Resolution))
	want(noon.Add(time.Second))
	n.used(first, noon.Add(Resolution+time.Second))
	want(noon.Add(Resolution + time.Second))

	n.take(first, noon)
	n.used(first, noon.Add(time.Hour))
	want(noon.Add(Resolution + time.Second))
	second, m2 := n.give(0, noon.Add(idle))
	if second != first || m2 != m {
		t.Fatalf("number %d, want %d", second, first)
	}
	n.used(second, noon)
	want(noon)
}

// TestMetersThatGrowLoseNothing has credentials used while others come: the meters stay where they are.
func TestMetersThatGrowLoseNothing(t *testing.T) {
	const meters = 5 * together
	var n numbers
	var uses sync.WaitGroup
	for range meters {
		number, _ := n.give(0, noon)
		uses.Go(func() { n.used(number, noon) })
	}
	uses.Wait()
	seen := map[index.Meter]bool{}
	for more := true; more; {
		more = n.look(100, func(number index.Meter, m *meter) { seen[number] = m.due() })
	}
	for number := range index.Meter(meters) {
		if !seen[number+1] {
			t.Fatalf("the use of %d is lost", number+1)
		}
	}
}
