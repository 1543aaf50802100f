package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// report collects results and prints them. It is safe for concurrent use.
type report struct {
	out io.Writer
	// verbose prints everything that tests print: when they end or, with streams, at once.
	verbose, streams bool

	mu sync.Mutex
	// spoke is when something last ended.
	spoke   time.Time
	results []*result
	// retracted are the first results of packages that ran again.
	retracted []*result
	// costs is the processor time of each job, compiling included.
	costs map[string]time.Duration
	// uncovered is what was not covered because something is missing that no test asks for, and how to install it.
	uncovered []skip
}

// ended records a package's result, and prints its line and everything about what failed.
func (r *report) ended(p *result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := p.count()
	if c == (counts{}) {
		return // It has no tests, or -run matched none.
	}
	r.results = append(r.results, p)
	r.spoke = time.Now()
	r.print("%s", p.line())
	switch {
	case p.outcome == failed:
		r.print("%s", indent(p.logOf()))
	case r.verbose && !r.streams:
		r.print("%s", indent(p.all()))
	}
}

// printed records what tests print.
func (r *report) printed(text string) {
	if r.verbose && r.streams {
		_, _ = fmt.Fprint(r.out, text)
	}
}

// spent records the processor time that a job has used.
func (r *report) spent(name string, cost time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.costs == nil {
		r.costs = map[string]time.Duration{}
	}
	r.costs[name] += cost
}

// line returns a package's line.
func (p *result) line() string {
	word := "ok"
	if p.outcome == failed {
		word = "FAIL"
	}
	return fmt.Sprintf("%-4s %7.1f s  %-40s %s", word, p.elapsed.Seconds(), p.name, p.count())
}

func (c counts) String() string {
	text := fmt.Sprintf("%d passed", c.passed)
	if c.failed > 0 {
		text += fmt.Sprintf(", %d failed", c.failed)
	}
	if c.skipped > 0 {
		text += fmt.Sprintf(", %d skipped", c.skipped)
	}
	return text
}

// all returns everything that was printed.
func (p *result) all() string {
	var text strings.Builder
	for _, t := range p.sorted() {
		text.WriteString(t.output.String())
	}
	return text.String()
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

// silence is how long nothing is printed while tests run.
const silence = time.Minute

// running prints which jobs run, if nothing has ended for a while.
func (r *report) running(now time.Time, jobs map[string]time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	began := slices.Collect(maps.Values(jobs))
	if len(began) == 0 || now.Sub(r.spoke) <= silence || now.Sub(slices.MaxFunc(began, time.Time.Compare)) <= silence {
		return
	}
	r.spoke = now
	var names []string
	for _, name := range slices.Sorted(maps.Keys(jobs)) {
		names = append(names, fmt.Sprintf("%s (%.0f s)", name, now.Sub(jobs[name]).Seconds()))
	}
	r.print("     running: %s", strings.Join(names, ", "))
}

// lack records that something is not covered.
func (r *report) lack(what skip) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uncovered = append(r.uncovered, what)
}

// total counts all tests.
func (r *report) total() counts {
	var sum counts
	for _, p := range r.results {
		sum.add(p.count())
	}
	return sum
}

// summary prints the summary, and reports whether the run is good: something passed and nothing failed.
func (r *report) summary(took time.Duration, required bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times(took)
	r.skipped()
	sum := r.total()
	if required {
		sum.failed += len(r.uncovered)
	}
	r.unstable()
	r.failed(required)
	switch sum {
	case counts{}:
		r.print("\nNo test ran: nothing matches.")
	case counts{skipped: sum.skipped}:
		r.print("\nNo test ran: all were skipped.")
	}
	r.print("\n%d passed, %d failed, %d skipped", sum.passed, sum.failed, sum.skipped)
	return sum.failed == 0 && sum.passed > 0
}

func (r *report) print(format string, args ...any) { _, _ = fmt.Fprintf(r.out, format+"\n", args...) }

// shown is how many packages the list of times has.
const shown = 25

// times lists the slowest packages first.
func (r *report) times(took time.Duration) {
	slowest := slices.Clone(r.results)
	slices.SortStableFunc(slowest, func(a, b *result) int { return cmp.Compare(b.elapsed, a.elapsed) })
	if len(slowest) == 0 {
		return
	}
	r.print("\nSlowest first (%.0f s in all):", took.Seconds())
	for i, p := range slowest {
		if i == shown {
			r.print("  and %d packages that took %.1f s or less", len(slowest)-shown, p.elapsed.Seconds())
			break
		}
		r.print("  %s", p.line())
	}
	r.dearest()
}

// dearest lists the jobs that used most of the processors.
func (r *report) dearest() {
	var sum time.Duration
	for _, cost := range r.costs {
		sum += cost
	}
	if sum == 0 {
		return
	}
	r.print("\nMost processor time first, compiling included (%.0f s in all):", sum.Seconds())
	names := slices.SortedStableFunc(maps.Keys(r.costs), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.costs[b], r.costs[a]), cmp.Compare(a, b))
	})
	for _, name := range names[:min(len(names), shown/2)] {
		r.print("  %9.1f s  %s", r.costs[name].Seconds(), name)
	}
}

// skipped lists the skipped tests, by what is missing.
func (r *report) skipped() {
	missing := map[string][]skip{}
	var others []skip
	for _, p := range r.results {
		for _, s := range p.skips() {
			if name := need.Missing(s.reason); name != "" {
				missing[name] = append(missing[name], s)
			} else {
				others = append(others, s)
			}
		}
	}
	if len(missing)+len(others)+len(r.uncovered) == 0 {
		return
	}
	r.print("\nSkipped, and how to get it:")
	for _, item := range need.All {
		if tests := missing[item.Name]; len(tests) > 0 {
			r.print("  %s is missing: %s", item.Name, item.How())
			for _, s := range tests {
				r.print("    %s %s", s.folder, s.test)
			}
		}
	}
	for _, s := range r.uncovered {
		r.print("  %s is missing: %s\n    %s", s.folder, s.reason, s.test)
	}
	for _, s := range others {
		r.print("  %s %s: %s", s.folder, s.test, s.reason)
	}
}

// failed lists what failed.
func (r *report) failed(required bool) {
	var lines []string
	for _, p := range r.results {
		for _, name := range p.failures() {
			lines = append(lines, "  "+p.name+" "+name)
		}
	}
	if required {
		for _, s := range r.uncovered {
			lines = append(lines, fmt.Sprintf("  %s (%s is set, and %s is missing)", s.test, need.Require, s.folder))
		}
	}
	r.list("\nFailed:", lines)
}

// list prints lines below a title, if there are any.
func (r *report) list(title string, lines []string) {
	if len(lines) > 0 {
		r.print("%s\n%s", title, strings.Join(lines, "\n"))
	}
}
