package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

func TestPrograms(t *testing.T) {
	if ownPrograms != program.Programs {
		t.Errorf("%s, and not %s", ownPrograms, program.Programs)
	}
}

func TestSummary(t *testing.T) {
	var out strings.Builder
	r := &report{out: &out}
	nginx := need.Find("nginx")
	good := &result{
		name: "internal/quick", outcome: passed, elapsed: time.Second,
		tests: map[string]*test{"TestA": {name: "TestA", outcome: passed}},
	}
	skips := &test{name: "TestB/nginx", outcome: skipped}
	skips.output.WriteString("    b_test.go:5: " + nginx.Reason() + "\n")
	other := &test{name: "TestC", outcome: skipped}
	other.output.WriteString("    b_test.go:7: not today\n")
	slow := &result{name: "internal/slow", outcome: passed, elapsed: 90 * time.Second, tests: map[string]*test{
		"TestB": {name: "TestB", outcome: passed, parent: true}, "TestB/nginx": skips, "TestC": other,
	}}
	r.ended(good)
	r.ended(slow)
	r.ended(&result{name: "internal/none", outcome: passed, tests: map[string]*test{}})
	r.lack(skip{folder: cCompiler, test: "data races", reason: "install one"})
	if !r.summary(2*time.Minute, false) {
		t.Error("all is well, and it is not said")
	}
	want := `ok       1.0 s  internal/quick                           1 passed
ok      90.0 s  internal/slow                            0 passed, 2 skipped

Slowest first (120 s in all):
  ok      90.0 s  internal/slow                            0 passed, 2 skipped
  ok       1.0 s  internal/quick                           1 passed

Skipped, and how to get it:
  nginx is missing: apt-get install nginx-light
    internal/slow TestB/nginx
  C compiler is missing: install one
    data races
  internal/slow TestC: not today

1 passed, 0 failed, 2 skipped
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	if r.summary(0, true) || !strings.HasSuffix(out.String(), "\n1 passed, 1 failed, 2 skipped\n") ||
		!strings.Contains(out.String(), "REQUIRE_ALL is set, and C compiler is missing") {
		t.Errorf("what is required and missing is no failure:\n%s", out.String())
	}
}

func TestRunning(t *testing.T) {
	var out strings.Builder
	r := &report{out: &out}
	began := time.Unix(1_000_000, 0)
	jobs := map[string]time.Time{"slow": began, "later": began.Add(10 * time.Second)}
	r.running(began.Add(65*time.Second), jobs)
	r.running(began.Add(71*time.Second), nil)
	if out.Len() > 0 {
		t.Errorf("it speaks before a minute is over, or of nothing: %s", out.String())
	}
	r.running(began.Add(71*time.Second), jobs)
	r.running(began.Add(80*time.Second), jobs)
	if want := "     running: later (61 s), slow (71 s)\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestNothingRan(t *testing.T) {
	var out strings.Builder
	if (&report{out: &out}).summary(0, false) || !strings.Contains(out.String(), "No test ran") ||
		!strings.HasSuffix(out.String(), "\n0 passed, 0 failed, 0 skipped\n") {
		t.Error(out.String())
	}
	out.Reset()
	r := &report{out: &out}
	r.ended(&result{name: "a", outcome: passed, tests: map[string]*test{"TestA": {name: "TestA", outcome: skipped}}})
	if r.summary(0, false) {
		t.Error("everything was skipped, and that is well")
	}
}

// TestJob runs go test on packages that end in every possible way.
func TestJob(t *testing.T) {
	top := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module " + module + "\n\ngo 1.26\n",
		"good/a_test.go": `func TestA(t *testing.T) { t.Run("b", func(t *testing.T) {}); ` +
			`t.Run("c", func(t *testing.T) { t.Skip("needs nginx, which is missing: x") }) }`,
		"clean/a_test.go": `func TestA(t *testing.T) { if os.Getenv("GOGC")+os.Getenv("GOMEMLIMIT") != "" { ` +
			`t.Error("compilers' variables") } }`,
		"bad/a_test.go": `func TestA(t *testing.T) { t.Log("chatter") }` + "\n" +
			`func TestB(t *testing.T) { t.Run("c", func(t *testing.T) { t.Error("the reason") }) }`,
		"panics/a_test.go": `func TestA(t *testing.T) { panic("oh no") }`,
		"exits/a_test.go":  `func TestA(t *testing.T) { os.Exit(3) }`,
		"broken/a_test.go": `func TestA(t *testing.T) { undefined() }`,
		"none/a_test.go":   `func help(t *testing.T) { help(t) }`,
		"hangs/a_test.go":  `func TestA(t *testing.T) { select {} }`,
	} {
		if folder := filepath.Dir(name); folder != "." {
			content = "package " + folder + "\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nvar _ = os.Exit\n\n" + content + "\n"
			if err := os.MkdirAll(filepath.Join(top, folder), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(top, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	r := &runner{
		env: os.Environ(), report: &report{out: &out}, running: map[string]time.Time{},
		compilers: []string{"GOGC=off", "GOMEMLIMIT=2048MiB"},
	}
	j := job{name: "some", dir: top, packages: []string{"./..."}, timeout: 3 * time.Second, parallel: 2}
	r.job(t.Context(), j)
	for _, want := range []string{
		"ok good 1 passed, 1 skipped", "ok clean 1 passed", "FAIL bad 1 passed, 1 failed", "FAIL panics 0 passed, 1 failed",
		"FAIL exits 0 passed, 1 failed",
		"FAIL broken 0 passed, 1 failed", "FAIL hangs 0 passed, 1 failed", "a_test.go:11: the reason", "panic: oh no",
		"undefined: undefined",
		"panic: test timed out after 3s",
	} {
		if !strings.Contains(columns(out.String()), want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, never := range []string{"chatter", "none"} {
		if strings.Contains(out.String(), never) {
			t.Errorf("%q is there", never)
		}
	}
	out.Reset()
	if r.report.summary(0, false) {
		t.Error("all is well")
	}
	failures := "Failed:\n  bad TestB/c\n  broken (does not build)\n  exits TestA (did not finish)\n  hangs TestA (did " +
		"not finish)\n  panics TestA\n\n3 passed, 5 failed, 1 skipped\n"
	if got := sortLines(out.String()); !strings.HasSuffix(got, failures) {
		t.Errorf("got\n%s\nwant at its end\n%s", got, failures)
	}
	if t.Failed() {
		t.Log(out.String())
	}
	r.report = &report{out: &out}
	out.Reset()
	r.job(t.Context(), job{name: "some", dir: top, packages: []string{"./nowhere"}, parallel: 1})
	if got := r.report.total(); got != (counts{failed: 1}) || !strings.Contains(out.String(), "nowhere") {
		t.Errorf("a package that there is not: %+v\n%s", got, out.String())
	}
}

// columns returns lines without times, with one space between columns.
func columns(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) > 3 && words[2] == "s" {
			words = append(words[:1], words[3:]...)
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return strings.Join(lines, "\n")
}

// sortLines sorts the names of what failed, because packages end in any order.
func sortLines(text string) string {
	before, rest, _ := strings.Cut(text, "Failed:\n")
	failed, rest, _ := strings.Cut(rest, "\n\n")
	lines := strings.Split(failed, "\n")
	slices.Sort(lines)
	return before + "Failed:\n" + strings.Join(lines, "\n") + "\n\n" + rest
}

// TestAgain runs packages again that failed: one that fails only once, and one that always does.
func TestAgain(t *testing.T) {
	t.Setenv(rerun, "1")
	top := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module " + module + "\n\ngo 1.26\n",
		"unlucky/a_test.go": `package unlucky; import ("os"; "testing"); func TestA(t *testing.T) { ` +
			`if os.Mkdir("seen", 0o700) == nil { t.Error("the first time") } }`,
		"bad/a_test.go":  `package bad; import "testing"; func TestA(t *testing.T) { t.Error("always") }`,
		"good/a_test.go": `package good; import "testing"; func TestA(*testing.T) {}`,
	} {
		if err := os.MkdirAll(filepath.Join(top, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(top, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		packages []string
		good     bool
		want     string
	}{
		{[]string{"unlucky", "good"}, true, "Failed at first, and passed by itself. It is unstable: open an issue.\n" +
			"  unlucky TestA\n\n2 passed, 0 failed, 0 skipped\n"},
		{[]string{"bad", "good"}, false, "Failed:\n  bad TestA\n\n1 passed, 1 failed, 0 skipped\n"},
	} {
		var out strings.Builder
		r := &runner{env: os.Environ(), report: &report{out: &out}, running: map[string]time.Time{}}
		j := job{name: "some", dir: top, timeout: time.Minute, parallel: 2}
		for _, name := range c.packages {
			j.packages = append(j.packages, module+"/"+name)
		}
		r.job(t.Context(), j)
		r.again(t.Context(), plan{together: []job{j}})
		if good := r.report.summary(0, false); good != c.good || !strings.HasSuffix(out.String(), c.want) {
			t.Errorf("%s: good is %t:\n%s\nwant at its end\n%s", c.packages, good, out.String(), c.want)
		}
	}
}

// TestTooManyAgain sees that nothing runs again where more failed than bad luck explains, or nobody asks for it.
func TestTooManyAgain(t *testing.T) {
	for asked, failures := range map[string]int{"1": mostAgain + 1, "": 1} {
		t.Setenv(rerun, asked)
		r := &runner{report: &report{out: io.Discard}, running: map[string]time.Time{}}
		var j job
		for i := range failures {
			name := fmt.Sprint("p", i)
			j.packages = append(j.packages, module+"/"+name)
			r.report.ended(&result{name: name, outcome: failed, tests: map[string]*test{"A": {name: "A", outcome: failed}}})
		}
		r.again(t.Context(), plan{units: []job{j}})
		if len(r.report.retracted) > 0 || r.report.summary(0, false) {
			t.Errorf("%s=%s, %d failures: %d ran again", rerun, asked, failures, len(r.report.retracted))
		}
	}
}
