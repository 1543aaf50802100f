package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// event is a line of go test -json: see go doc test2json, and go help buildjson for builds.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of what is built
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

// outcome is how a test or a package ended.
type outcome string

// These are the outcomes, by their names in go test -json.
const (
	passed  outcome = "pass"
	failed  outcome = "fail"
	skipped outcome = "skip"
)

// result is the result of one package's tests.
type result struct {
	name    string // the package's folder
	outcome outcome
	elapsed time.Duration
	tests   map[string]*test
	// output is what belongs to no test.
	output strings.Builder
	// failedBuild names what could not be built.
	failedBuild string
}

// test is one test or subtest.
type test struct {
	name    string
	outcome outcome // blank until it has ended
	output  strings.Builder
	parent  bool // it has subtests
}

// listener is notified of packages' results.
type listener interface {
	// ended is called for each package when its tests end, printed for everything that tests print.
	ended(*result)
	printed(string)
}

// reader parses the output of a go test command. It is an io.Writer.
type reader struct {
	packages map[string]*result
	builds   map[string]*strings.Builder
	// rest is the beginning of an incomplete line.
	rest []byte
	// stray has the lines that are no events.
	stray strings.Builder
	// failed reports whether a package has failed.
	failed   bool
	listener listener
}

func newReader(l listener) *reader {
	return &reader{packages: map[string]*result{}, builds: map[string]*strings.Builder{}, listener: l}
}

// Write parses a piece of the stream.
func (r *reader) Write(piece []byte) (int, error) {
	r.rest = append(r.rest, piece...)
	for {
		line, rest, whole := bytes.Cut(r.rest, []byte("\n"))
		if !whole {
			return len(piece), nil
		}
		r.line(string(line) + "\n")
		r.rest = rest
	}
}

// end parses a last line that has no line end.
func (r *reader) end() {
	if len(r.rest) > 0 {
		r.line(string(r.rest))
	}
	r.rest = nil
}

// unfinished returns the packages that have started and not ended.
func (r *reader) unfinished() []*result {
	var all []*result
	for _, name := range slices.Sorted(maps.Keys(r.packages)) {
		if p := r.packages[name]; p.outcome == "" {
			all = append(all, p)
		}
	}
	return all
}

func (r *reader) line(line string) {
	var e event
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		r.stray.WriteString(line)
		return
	}
	r.take(e)
}

func (r *reader) take(e event) {
	if e.ImportPath != "" {
		if e.Action == "build-output" {
			if r.builds[e.ImportPath] == nil {
				r.builds[e.ImportPath] = &strings.Builder{}
			}
			r.builds[e.ImportPath].WriteString(e.Output)
		}
		return
	}
	p := r.packages[e.Package]
	if p == nil {
		p = &result{name: pkg{ImportPath: e.Package}.folder(), tests: map[string]*test{}}
		r.packages[e.Package] = p
	}
	if e.Action == "output" {
		r.listener.printed(e.Output)
	}
	if e.Test != "" {
		p.take(e)
		return
	}
	switch e.Action {
	case "output":
		p.output.WriteString(e.Output)
	case string(passed), string(failed), string(skipped):
		p.outcome, p.elapsed = outcome(e.Action), time.Duration(e.Elapsed*float64(time.Second))
		if e.FailedBuild != "" {
			p.failedBuild = "build failed\n"
			if log := r.builds[e.FailedBuild]; log != nil {
				p.failedBuild = log.String()
			}
		}
		r.failed = r.failed || p.outcome == failed
		r.listener.ended(p)
	}
}

// take records an event of a test.
func (p *result) take(e event) {
	t := p.tests[e.Test]
	if t == nil {
		t = &test{name: e.Test}
		p.tests[e.Test] = t
		for i := strings.LastIndexByte(e.Test, '/'); i > 0; i = strings.LastIndexByte(e.Test[:i], '/') {
			if parent := p.tests[e.Test[:i]]; parent != nil {
				parent.parent = true
			}
		}
	}
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
	case string(passed), string(failed), string(skipped):
		t.outcome = outcome(e.Action)
	}
}

// sorted returns the tests by name.
func (p *result) sorted() []*test {
	return slices.SortedFunc(maps.Values(p.tests), func(a, b *test) int { return strings.Compare(a.name, b.name) })
}

// counts is how many tests passed, failed and were skipped. A test with subtests is not counted itself, so that each
// check counts once.
type counts struct{ passed, failed, skipped int }

func (c *counts) add(o counts) {
	c.passed += o.passed
	c.failed += o.failed
	c.skipped += o.skipped
}

// count counts the package's tests. A package that failed has at least one failure: if it was not built, or ended
// before its tests did, that counts as one.
func (p *result) count() counts {
	var c counts
	for _, t := range p.sorted() {
		switch {
		case p.hasFailed(t):
			if !p.failedBelow(t) {
				c.failed++
			}
		case t.outcome == skipped:
			c.skipped++
		case t.outcome == passed && !t.parent:
			c.passed++
		}
	}
	if p.outcome == failed && c.failed == 0 {
		c.failed = 1
	}
	return c
}

// hasFailed reports whether a test failed, or had not ended when its process did.
func (p *result) hasFailed(t *test) bool {
	return t.outcome == failed || t.outcome == "" && p.outcome == failed
}

// failedBelow reports whether a subtest explains why the test failed.
func (p *result) failedBelow(t *test) bool {
	for name, other := range p.tests {
		if strings.HasPrefix(name, t.name+"/") && p.hasFailed(other) {
			return true
		}
	}
	return false
}

// failures returns the names of what failed, as count counts it.
func (p *result) failures() []string {
	var names []string
	for _, t := range p.sorted() {
		if p.hasFailed(t) && !p.failedBelow(t) {
			name := t.name
			if t.outcome == "" {
				name += " (did not finish)"
			}
			names = append(names, name)
		}
	}
	if len(names) == 0 && p.outcome == failed {
		names = []string{"(no single test)"}
		if p.failedBuild != "" {
			names = []string{"(does not build)"}
		}
	}
	return names
}

// noise matches the lines that go test prints around a test's own.
var noise = regexp.MustCompile(`^\s*(=== (RUN|PAUSE|CONT|NAME)|--- (PASS|SKIP)|PASS$|FAIL$|FAIL\t|ok\s)`)

// logOf returns everything that failed tests have printed, and what belongs to no test.
func (p *result) logOf() string {
	var text strings.Builder
	text.WriteString(p.failedBuild)
	for _, t := range p.sorted() {
		if p.hasFailed(t) {
			text.WriteString(quiet(t.output.String()))
		}
	}
	text.WriteString(quiet(p.output.String()))
	return text.String()
}

func quiet(log string) string {
	var kept strings.Builder
	for line := range strings.Lines(log) {
		if !noise.MatchString(line) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// place matches the file and line at the beginning of a test's log.
var place = regexp.MustCompile(`^\s+\S+\.go:\d+: `)

// skip is a skipped test and the reason.
type skip struct{ folder, test, reason string }

// skips returns the tests that were skipped.
func (p *result) skips() []skip {
	var all []skip
	for _, t := range p.sorted() {
		if t.outcome == skipped {
			all = append(all,
				skip{p.name, t.name, strings.TrimSpace(place.ReplaceAllString(lastLine(quiet(t.output.String())), ""))})
		}
	}
	return all
}

// lastLine returns the last line with a place, and the lines that follow it.
func lastLine(log string) string {
	lines := strings.Split(strings.TrimRight(log, "\n"), "\n")
	for i := len(lines) - 1; i > 0; i-- {
		if place.MatchString(lines[i]) {
			return strings.Join(lines[i:], " ")
		}
	}
	return strings.Join(lines, " ")
}

// fuzzLine matches what hack/fuzz.sh prints about a target.
var fuzzLine = regexp.MustCompile(`(?m)^fuzz: (\S+ Fuzz\w+): (.*)$`)

// fuzzed returns the result of hack/fuzz.sh.
func fuzzed(log string, err error, took time.Duration) *result {
	p := &result{name: "fuzzing", outcome: passed, elapsed: took, tests: map[string]*test{}}
	for _, match := range fuzzLine.FindAllStringSubmatch(log, -1) {
		t := &test{name: match[1], outcome: passed}
		if match[2] == "FAILED" {
			t.outcome = failed
		}
		p.tests[t.name] = t
	}
	if err != nil {
		p.outcome = failed
		p.output.WriteString(log)
	}
	return p
}
