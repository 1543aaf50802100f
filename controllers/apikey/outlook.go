package apikey

import (
	"context"
	"time"
)

// outlook writes what is ahead of a key that works: its next rotation, and a warning before its end.
type outlook struct {
	// warnings are how long before a key's end it is warned of.
	warnings []time.Duration
}

func (s *outlook) run(_ context.Context, r *round) (*outcome, error) {
	schedule(r)
	foresee(r, s.warnings)
	return nil, nil
}
