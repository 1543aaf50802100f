package lifecycle

import (
	"testing"
	"time"
)

// TestSoonest checks that zero is never, and that the sooner of two times counts.
func TestSoonest(t *testing.T) {
	for _, test := range []struct{ a, b, want time.Duration }{{0, 0, 0}, {0, 3, 3}, {3, 0, 3}, {3, 2, 2}, {2, 3, 2}} {
		if got := Soonest(test.a, test.b); got != test.want {
			t.Errorf("Soonest(%d, %d) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
