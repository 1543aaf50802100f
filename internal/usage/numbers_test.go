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
