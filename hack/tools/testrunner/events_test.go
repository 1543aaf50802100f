package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// recorder is a listener that records what it is notified of.
type recorder struct {
	results []*result
	text    strings.Builder
}

func (h *recorder) ended(p *result)     { h.results = append(h.results, p) }
func (h *recorder) printed(text string) { h.text.WriteString(text) }

// of feeds a reader with lines of go test -json, each without its opening brace.
func of(t *testing.T, lines ...string) (*reader, *result) {
	t.Helper()
	h := &recorder{}
	r := newReader(h)
	for _, line := range lines {
		text := []byte("{" + line + "}\n")
		for len(text) > 0 { // In pieces, as from a pipe.
			n := min(7, len(text))
			if _, err := r.Write(text[:n]); err != nil {
				t.Fatal(err)
			}
			text = text[n:]
		}
	}
	r.end()
	if len(h.results) != 1 {
		t.Fatalf("%d packages have ended", len(h.results))
	}
	return r, h.results[0]
}

const p = `"Package":"github.com/nexuscommerce/apikey-operator/internal/a"`

func TestCounts(t *testing.T) {
	for name, c := range map[string]struct {
		lines    []string
		want     counts
		failures string
	}{
		"one that passes": {[]string{
			`"Action":"start",` + p, `"Action":"run",` + p + `,"Test":"TestA"`, `"Action":"pass",` + p + `,"Test":"TestA"`,
			`"Action":"pass",` + p + `,"Elapsed":1.5`,
		}, counts{passed: 1}, ""},
		"subtests count, and not what they are in": {[]string{
			`"Action":"run",` + p + `,"Test":"TestA"`, `"Action":"run",` + p + `,"Test":"TestA/b"`,
			`"Action":"run",` + p + `,"Test":"TestA/b/c"`,
			`"Action":"run",` + p + `,"Test":"TestA/d"`,
			`"Action":"pass",` + p + `,"Test":"TestA/b/c"`, `"Action":"pass",` + p + `,"Test":"TestA/b"`,
			`"Action":"skip",` + p + `,"Test":"TestA/d"`,
			`"Action":"pass",` + p + `,"Test":"TestA"`, `"Action":"pass",` + p,
		}, counts{passed: 1, skipped: 1}, ""},
		"a subtest that fails": {[]string{
			`"Action":"run",` + p + `,"Test":"TestA"`, `"Action":"run",` + p + `,"Test":"TestA/b"`,
			`"Action":"run",` + p + `,"Test":"TestA/c"`,
			`"Action":"fail",` + p + `,"Test":"TestA/b"`, `"Action":"pass",` + p + `,"Test":"TestA/c"`,
			`"Action":"fail",` + p + `,"Test":"TestA"`, `"Action":"fail",` + p,
		}, counts{passed: 1, failed: 1}, "TestA/b"},
		"a test that fails though its subtests pass": {[]string{
			`"Action":"run",` + p + `,"Test":"TestA"`, `"Action":"run",` + p + `,"Test":"TestA/b"`,
			`"Action":"pass",` + p + `,"Test":"TestA/b"`, `"Action":"fail",` + p + `,"Test":"TestA"`, `"Action":"fail",` + p,
		}, counts{passed: 1, failed: 1}, "TestA"},
		"tests that had not ended when their process did": {[]string{
			`"Action":"run",` + p + `,"Test":"TestA"`, `"Action":"run",` + p + `,"Test":"TestA/b"`,
			`"Action":"run",` + p + `,"Test":"TestC"`,
			`"Action":"fail",` + p + `,"Test":"TestC"`, `"Action":"fail",` + p,
		}, counts{failed: 2}, "TestA/b (did not finish), TestC"},
		"no single test": {[]string{
			`"Action":"run",` + p + `,"Test":"TestA"`, `"Action":"pass",` + p + `,"Test":"TestA"`, `"Action":"fail",` + p,
		}, counts{passed: 1, failed: 1}, "(no single test)"},
		"what does not build": {[]string{
			`"ImportPath":"x [x.test]","Action":"build-output","Output":"./a.go:1: oh no\n"`,
			`"ImportPath":"x [x.test]","Action":"build-fail"`,
			`"Action":"start",` + p, `"Action":"fail",` + p + `,"FailedBuild":"x [x.test]"`,
		}, counts{failed: 1}, "(does not build)"},
		"no tests": {[]string{`"Action":"start",` + p, `"Action":"skip",` + p}, counts{}, ""},
	} {
		r, got := of(t, c.lines...)
		if counted := got.count(); counted != c.want {
			t.Errorf("%s: %+v, want %+v", name, counted, c.want)
		}
		if all := strings.Join(got.failures(), ", "); all != c.failures || r.failed != (c.failures != "") {
			t.Errorf("%s: failures %q, want %q; the reader says %v", name, all, c.failures, r.failed)
		}
		if got.name != "internal/a" || len(r.unfinished()) > 0 {
			t.Errorf("%s: package %s, unfinished %v", name, got.name, r.unfinished())
		}
	}
}

func output(name, text string) string {
	return `"Action":"output",` + p + `,"Test":"` + name + `","Output":"` + text + `\n"`
}

// TestLog checks that a failure's log has everything that the failed tests printed, and nothing of the others.
func TestLog(t *testing.T) {
	_, got := of(t,
		output("TestA", "=== RUN   TestA"), output("TestA", "    a_test.go:3: the reason"),
		output("TestA", "--- FAIL: TestA (0.00s)"),
		output("TestB", "=== RUN   TestB"), output("TestB", "    a_test.go:5: chatter"),
		output("TestB", "--- PASS: TestB (0.00s)"),
		`"Action":"fail",`+p+`,"Test":"TestA"`, `"Action":"pass",`+p+`,"Test":"TestB"`,
		`"Action":"output",`+p+`,"Output":"panic: in no test\n"`, `"Action":"fail",`+p,
	)
	if want := "    a_test.go:3: the reason\n--- FAIL: TestA (0.00s)\npanic: in no test\n"; got.logOf() != want {
		t.Errorf("%q, want %q", got.logOf(), want)
	}
}

func TestSkips(t *testing.T) {
	_, got := of(t,
		output("TestA", "=== RUN   TestA"), output("TestA", "    a_test.go:3: some log"),
		output("TestA", "    b_test.go:31: needs nginx,\\n        for two reasons"),
		output("TestA", "--- SKIP: TestA (0.00s)"), `"Action":"skip",`+p+`,"Test":"TestA"`, `"Action":"pass",`+p,
	)
	if want := []skip{{"internal/a", "TestA", "needs nginx,         for two reasons"}}; !slices.Equal(got.skips(), want) {
		t.Errorf("%q, want %q", got.skips(), want)
	}
}

// TestStray checks that lines which are no events are kept, and that a package which has started and not ended is
// known.
func TestStray(t *testing.T) {
	h := &recorder{}
	r := newReader(h)
	for _, text := range []string{"go: no such flag\n", "{not json\n", `{"Action":"start",` + p + "}\n", "the end"} {
		if _, err := r.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	r.end()
	if got := r.stray.String(); got != "go: no such flag\n{not json\nthe end" {
		t.Errorf("%q", got)
	}
	if left := r.unfinished(); len(left) != 1 || left[0].name != "internal/a" || len(h.results) > 0 || r.failed {
		t.Errorf("%+v, ended %+v", left, h.results)
	}
}

func TestFuzzed(t *testing.T) {
	log := "fuzz: 2 targets, 20s each\nfuzz: internal/token FuzzParse: execs: 100\nfuzz: internal/access FuzzPath: " +
		"FAILED\nlog\n"
	p := fuzzed(log, errors.New("exit 1"), time.Minute)
	if want := (counts{passed: 1, failed: 1}); p.count() != want || p.failures()[0] != "internal/access FuzzPath" ||
		!strings.Contains(p.logOf(), log) {
		t.Errorf("%+v %v %s", p.count(), p.failures(), p.logOf())
	}
	if p := fuzzed("fuzz: internal/token FuzzParse: execs: 100\n", nil, 0); p.count() != (counts{passed: 1}) ||
		p.outcome != passed {
		t.Errorf("%+v", p.count())
	}
	if p := fuzzed("fuzz: no target matches\n", errors.New("exit 1"), 0); p.count() != (counts{failed: 1}) {
		t.Errorf("nothing was fuzzed: %+v", p.count())
	}
}
