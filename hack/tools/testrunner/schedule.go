package main

import (
	"context"
	"sync"
)

// schedule runs a plan: unit tests, then suites side by side, then one after another those that must run alone. No job
// starts once the context has ended.
func schedule(ctx context.Context, p plan, slots int, run func(context.Context, job)) {
	side := func(jobs []job, slots int) {
		room := make(chan struct{}, slots)
		var group sync.WaitGroup
		for _, j := range jobs {
			select {
			case <-ctx.Done():
			case room <- struct{}{}:
			}
			if ctx.Err() != nil {
				break
			}
			group.Go(func() {
				defer func() { <-room }()
				run(ctx, j)
			})
		}
		group.Wait()
	}
	side(p.units, 1)
	side(p.together, slots)
	side(p.alone, 1)
}
