package effort

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	for value, want := range map[string]Effort{"quick": Quick, "normal": Normal, "full": Full, "": Full} {
		if got, err := parse(value); got != want || err != nil {
			t.Errorf("%q: %d, %v; want %d", value, got, err, want)
		}
	}
	if _, err := parse("ful"); err == nil {
		t.Error("a typing error is accepted")
	}
}

func TestPick(t *testing.T) {
	for value, want := range map[string]string{"quick": "a", "normal": "b", "full": "c"} {
		t.Setenv(Variable, value)
		if got := Pick("a", "b", "c"); got != want {
			t.Errorf("%s: %s, want %s", value, got, want)
		}
	}
}

func TestSample(t *testing.T) {
	points := []int{0, 1, 2, 3, 4, 5, 6}
	for n, want := range map[int][]int{0: points, 1: points, 3: {0, 3, 6}, 9: {0}} {
		if got := Sample(points, n); !slices.Equal(got, want) {
			t.Errorf("every %dth: %v, want %v", n, got, want)
		}
	}
	if got := Sample([]int(nil), 3); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
