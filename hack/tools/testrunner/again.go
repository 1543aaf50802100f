package main

import (
	"context"
	"os"
	"slices"
)

// rerun is an environment variable. If it is 1, what failed runs once more, by itself. What passes then no longer fails
// the run, but is listed in the summary: docs/decisions/2026-11-29-failed-suites-run-again.md.
const rerun = "RERUN_FAILED"

// mostAgain is how many packages may have failed for that. With more, something is broken.
const mostAgain = 3

// again runs the packages that failed once more, one after the other.
func (r *runner) again(ctx context.Context, p plan) {
	if os.Getenv(rerun) != "1" {
		return
	}
	names := r.report.broken()
	if len(names) > mostAgain {
		say("\n%d packages failed: too many to run again.", len(names))
		return
	}
	for _, j := range p.jobs() {
		for _, path := range j.packages {
			name := pkg{ImportPath: path}.folder()
			if !slices.Contains(names, name) || ctx.Err() != nil {
				continue
			}
			say("     again, by itself: %s", name)
			r.report.retract(name)
			alone := j
			alone.name, alone.packages = name+", again", []string{path}
			r.job(ctx, alone)
		}
	}
}

// broken returns the names of the packages that failed.
func (r *report) broken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, p := range r.results {
		if p.outcome == failed {
			names = append(names, p.name)
		}
	}
	return names
}

// retract replaces a package's result by the one that ends next.
func (r *report) retract(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.results, func(p *result) bool { return p.name == name })
	r.retracted = append(r.retracted, r.results[i])
	r.results = slices.Delete(r.results, i, i+1)
}

// unstable lists what failed at first, and passed by itself.
func (r *report) unstable() {
	var lines []string
	for _, first := range r.retracted {
		if !slices.ContainsFunc(r.results, func(p *result) bool { return p.name == first.name && p.outcome != failed }) {
			continue
		}
		for _, name := range first.failures() {
			lines = append(lines, "  "+first.name+" "+name)
		}
	}
	r.list("\nFailed at first, and passed by itself. It is unstable: open an issue.", lines)
}
