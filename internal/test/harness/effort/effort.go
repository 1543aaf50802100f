// Package effort tells suites that repeat or explore how much to do. Every kind of check runs at every effort:
// what differs is how often it is repeated, how many of the possible points are visited, and how long a quiet period is
// watched.
package effort

import (
	"fmt"
	"os"
)

// Variable is the environment variable that sets the effort: "quick", "normal" or "full". Unset is full, so that a
// single test which somebody runs by hand hides nothing.
const Variable = "TEST_EFFORT"

// Effort is how much a suite does. Larger values include all that smaller ones do.
type Effort int

// The efforts of make test-quick, make test and make test-all.
const (
	Quick Effort = iota
	Normal
	Full
)

// Of returns the effort that Variable asks for. It panics on any other value, because a typing error would otherwise
// silently change what is tested.
func Of() Effort {
	e, err := parse(os.Getenv(Variable))
	if err != nil {
		panic(err)
	}
	return e
}

func parse(value string) (Effort, error) {
	switch value {
	case "quick":
		return Quick, nil
	case "normal":
		return Normal, nil
	case "", "full":
		return Full, nil
	default:
		return 0, fmt.Errorf("%s=%q: must be quick, normal or full", Variable, value)
	}
}

// Pick returns the value for the effort that Variable asks for.
func Pick[T any](quick, normal, full T) T {
	return [...]T{Quick: quick, Normal: normal, Full: full}[Of()]
}

// Sample returns every nth of the points, beginning with the first: the same points in every run. An n of 1 returns
// all.
func Sample[T any](points []T, n int) []T {
	if n <= 1 {
		return points
	}
	sampled := make([]T, 0, (len(points)+n-1)/n)
	for i := 0; i < len(points); i += n {
		sampled = append(sampled, points[i])
	}
	return sampled
}
