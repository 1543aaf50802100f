package main

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func at(folder string, suite bool) pkg {
	return pkg{ImportPath: module + "/" + folder, XTestGoFiles: []string{"a_test.go"}, suite: suite}
}

func names(jobs []job) string {
	var all []string
	for _, j := range jobs {
		all = append(all, j.name)
	}
	return strings.Join(all, " ")
}

var everyKind = []listing{
	{".", []pkg{
		at("internal/token", false), at("internal/test/harness/pages", false), at("internal/feed", true),
		at("internal/test/suites/crash", true),
		at("internal/test/suites/explore", true), at("internal/test/suites/handover", true), at("api/v1alpha1", true),
	}},
	{"hack/suites/monitoring", []pkg{at("hack/suites/monitoring", false)}},
}

func TestPlan(t *testing.T) {
	const together = "internal/test/suites/explore internal/test/suites/crash internal/feed api/v1alpha1 " +
		"hack/suites/monitoring"
	for name, c := range map[string]struct {
		units           int
		together, alone string
		raced           string
	}{
		"quick": {units: 2, together: "api/v1alpha1"},
		normal: {
			units:    2,
			together: together,
			alone:    "internal/test/suites/handover",
		},
		"full": {
			units:    2,
			together: together,
			alone:    "internal/test/suites/handover",
			raced:    "unit tests internal/test/suites/crash internal/feed api/v1alpha1 internal/test/suites/handover",
		},
	} {
		m, err := modeOf(name, "auto")
		if err != nil {
			t.Fatal(err)
		}
		got := planFor(m, everyKind)
		if len(got.units) != 1 || len(got.units[0].packages) != c.units || names(got.together) != c.together ||
			names(got.alone) != c.alone {
			t.Errorf("%s: units %v, together %s, alone %s", name, got.units, names(got.together), names(got.alone))
		}
		raced := slices.DeleteFunc(got.jobs(), func(j job) bool { return !j.race })
		if names(raced) != c.raced {
			t.Errorf("%s: with the race detector %q, want %q", name, names(raced), c.raced)
		}
	}
}

// TestNightly checks that a nightly run is of the suites that need what only it brings, and of what takes long.
func TestNightly(t *testing.T) {
	m, err := modeOf("nightly", "auto")
	if err != nil {
		t.Fatal(err)
	}
	const asked = "internal/test/suites/bypass internal/test/suites/conformance"
	got := planFor(m, append(slices.Clone(everyKind), listing{".", []pkg{
		at("internal/test/suites/bypass", true), at("internal/test/suites/conformance", true),
	}}))
	if len(got.units) > 0 || names(got.together) != asked ||
		names(got.alone) != "internal/test/suites/handover" || got.alone[0].run != "^TestUpgrade$" {
		t.Errorf("units %v, together %s, alone %s", got.units, names(got.together), names(got.alone))
	}
}

// TestStarts checks that a package that needs no control plane is not a suite, and one that starts one is.
func TestStarts(t *testing.T) {
	t.Chdir(filepath.Join("..", "..", ".."))
	found, err := list(t.Context(), ".",
		[]string{
			"./internal/monitor", "./internal/feed", "./internal/test/suites/crash", "./internal/test/suites/ports",
			"./hack/bench",
		})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, p := range found {
		got[p.folder()] = p.suite
	}
	want := map[string]bool{
		"internal/monitor": false, "internal/feed": true, "internal/test/suites/crash": true,
		"internal/test/suites/ports": true, "hack/bench": false,
	}
	if !maps.Equal(got, want) {
		t.Errorf("suites: %v, want %v", got, want)
	}
}

func TestRace(t *testing.T) {
	for asked, want := range map[string]race{"auto": raceOff, "": raceOff, "-race": raceAll} {
		if m, err := modeOf(normal, asked); err != nil || m.race != want {
			t.Errorf("RACE=%s: %s, %v; want %s", asked, m.race, err, want)
		}
	}
	if _, err := modeOf("fast", "auto"); err == nil {
		t.Error("a mode that there is not is accepted")
	}
}

func TestCommand(t *testing.T) {
	j := job{packages: []string{"a", "b"}, run: "^TestA$", race: true, timeout: time.Minute, parallel: 2}
	got := strings.Join(j.command([]string{"-v", "-timeout=1h"}), " ")
	if want := "go test -json -count=1 -p=2 -timeout=1m0s -race -run=^TestA$ -v -timeout=1h a b"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	j.traits.tests = 8
	if got, want := strings.Join(j.command(nil), " "), " -race -parallel=8 -run="; !strings.Contains(got, want) {
		t.Errorf("%s\nwant %q in it", got, want)
	}
	j.race, j.compilers = false, []string{"GOGC=off"}
	if got, want := strings.Join(j.command(nil), " "), " -exec=env -u GOGC -u GOMEMLIMIT "; !strings.Contains(got, want) {
		t.Errorf("%s lacks %s", got, want)
	}
	if got := j.environment(nil); !slices.Equal(got, []string{"GOGC=off", "CGO_ENABLED=0"}) ||
		!slices.Equal(j.compilers, []string{"GOGC=off"}) {
		t.Errorf("go test gets %q", got)
	}
}

func TestFolders(t *testing.T) {
	m, _ := modeOf("full", "auto")
	want := "internal/token internal/test/harness/pages internal/test/suites/explore internal/test/suites/crash " +
		"internal/feed api/v1alpha1 hack/suites/monitoring internal/test/suites/handover"
	if got := strings.Join(planFor(m, everyKind).folders(), " "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSplit(t *testing.T) {
	got := split([]string{
		"./internal/...", "./hack/suites/helm", "./hack/suites/helm/...", "hack/suites/gitops/", "./hack/helmet",
		"./hack/tools/testrunner",
	}, []string{"hack/suites/helm", "hack/suites/gitops"})
	want := map[string]string{
		".": "./internal/... ./hack/helmet ./hack/tools/testrunner", "hack/suites/helm": "./ ./...",
		"hack/suites/gitops": "./",
	}
	for dir, patterns := range want {
		if joined := strings.Join(got[dir], " "); joined != patterns {
			t.Errorf("%s: %q, want %q", dir, joined, patterns)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-mode=quick", "-race=", "./a", "./b", "--", "-run", "TestA|TestB", "-v"})
	if err != nil || o.mode.name != "quick" || !slices.Equal(o.patterns, []string{"./a", "./b"}) ||
		!slices.Equal(o.flags, []string{"-run", "TestA|TestB", "-v"}) || !o.verbose() {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = parse([]string{"--"}); err != nil || !everything(o.patterns) || len(o.flags) > 0 || o.verbose() ||
		o.mode.name != normal {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err = parse([]string{"-mode=fast"}); err == nil {
		t.Error("a mode that there is not is accepted")
	}
}

// TestSuites checks that each listed package exists and has tests.
func TestSuites(t *testing.T) {
	listed := slices.Collect(maps.Keys(suites))
	for _, m := range modes {
		listed = slices.AppendSeq(listed, maps.Keys(m.pass))
	}
	for _, folder := range listed {
		tests, err := filepath.Glob(filepath.Join("..", "..", "..", folder, "*_test.go"))
		if err != nil || len(tests) == 0 {
			t.Errorf("%s has no tests: %v", folder, err)
		}
	}
}

// TestPass checks that the tests that a quick run names exist.
func TestPass(t *testing.T) {
	for folder, run := range modes["quick"].pass {
		name := strings.Trim(run, "^$")
		if name == "" {
			continue
		}
		files, _ := filepath.Glob(filepath.Join("..", "..", "..", folder, "*_test.go"))
		if !slices.ContainsFunc(files, func(file string) bool {
			content, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(content), "func "+name+"(")
		}) {
			t.Errorf("%s has no %s", folder, name)
		}
	}
}

// TestSchedule checks the order of jobs, and how many run at a time.
func TestSchedule(t *testing.T) {
	p := plan{
		units:    []job{{name: "units"}},
		together: []job{{name: "a"}, {name: "b"}, {name: "c"}, {name: "d"}},
		alone:    []job{{name: "y"}, {name: "z"}},
	}
	var mu sync.Mutex
	var order []string
	running, most := 0, map[string]int{}
	begin := make(chan struct{}, 8)
	run := func(_ context.Context, j job) {
		mu.Lock()
		order = append(order, j.name)
		running++
		most[j.name] = max(most[j.name], running)
		mu.Unlock()
		if j.name == "a" || j.name == "b" { // Each waits until the other runs too.
			begin <- struct{}{}
			for len(begin) < 2 {
				time.Sleep(time.Millisecond)
			}
		}
		mu.Lock()
		running--
		mu.Unlock()
	}
	schedule(t.Context(), p, 2, run)
	if order[0] != "units" || strings.Join(order[5:], " ") != "y z" || most["units"] != 1 || most["y"] != 1 ||
		most["z"] != 1 {
		t.Errorf("%v, at a time %v", order, most)
	}
	if max(most["a"], most["b"]) != 2 || max(most["c"], most["d"]) > 2 {
		t.Errorf("at a time %v", most)
	}
	ctx, cancel := context.WithCancel(t.Context())
	order = nil
	schedule(ctx, p, 2, func(_ context.Context, j job) {
		order = append(order, j.name)
		cancel()
	})
	if strings.Join(order, " ") != "units" {
		t.Errorf("after the end %v began", order)
	}
}
