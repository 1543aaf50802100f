package main

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/nexuscommerce/apikey-operator/hack/tools/fetch/programs"
)

const module = "github.com/nexuscommerce/apikey-operator"

// pkg is what go list says about a package with tests.
type pkg struct {
	ImportPath                string
	Dir                       string
	TestGoFiles, XTestGoFiles []string
	// suite reports whether its tests start programs. All other packages have unit tests.
	suite bool
}

// folder returns the package's folder, relative to the top of the repository. The modules below hack have paths that
// say where they are.
func (p pkg) folder() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// starts matches how tests start a control plane, this project's programs, or others.
var starts = regexp.MustCompile(
	`\b(install\.(New|ControlPlane|StartVerifier)|controlplane\.Start|` +
		`program\.(Build|Start\w*)|need\.(ControlPlane|Program))\(`)

// job is one go test command.
type job struct {
	name string
	// dir is the module's folder, relative to the top.
	dir      string
	packages []string
	// run is go test's -run; blank means all.
	run     string
	race    bool
	timeout time.Duration
	// parallel is how many packages are built and tested at a time.
	parallel int
	traits   traits
	// compilers are environment variables for compilers, which tests don't get.
	compilers []string
}

// command returns go test with its arguments. The user's flags come last, and so take precedence.
func (j job) command(flags []string) []string {
	words := []string{
		"go", "test", "-json", "-count=1", fmt.Sprintf("-p=%d", j.parallel), "-timeout=" + j.timeout.String(),
	}
	if len(j.compilers) > 0 {
		words = append(words, "-exec=env -u "+strings.Join(programs.CompilerVariables(), " -u "))
	}
	if j.race {
		words = append(words, "-race")
	} else {
		words = append(words, "-trimpath")
	}
	if j.traits.tests > 0 {
		words = append(words, fmt.Sprintf("-parallel=%d", j.traits.tests))
	}
	if j.run != "" {
		words = append(words, "-run="+j.run)
	}
	return append(append(words, flags...), j.packages...)
}

// environment returns the additional environment of go test. Without the race detector, packages are compiled with make
// build's flags, and so only once. Compilers may use the free memory; the tests themselves don't see those variables.
func (j job) environment(flags []string) []string {
	if j.race || slices.Contains(flags, "-race") {
		return j.compilers
	}
	return append(slices.Clip(j.compilers), "CGO_ENABLED=0")
}

// plan is what is run: unit tests first, then suites side by side, then those that must run alone.
type plan struct {
	units, together, alone []job
	fuzz                   bool
}

// jobs returns all jobs.
func (p plan) jobs() []job { return slices.Concat(p.units, p.together, p.alone) }

// suites returns the jobs that need this project's programs.
func (p plan) suites() []job { return slices.Concat(p.together, p.alone) }

// folders returns the folders of all packages, which show which programs their tests need.
func (p plan) folders() []string {
	var all []string
	for _, j := range p.jobs() {
		for _, name := range j.packages {
			all = append(all, pkg{ImportPath: name}.folder())
		}
	}
	return all
}

// listing has the packages of a module.
type listing struct {
	dir      string // relative to the top; "." is the root module
	packages []pkg
}

// planFor returns the plan for packages.
func planFor(m mode, listings []listing) plan {
	var p plan
	units := job{
		name: "unit tests", dir: ".", race: m.race != raceOff, timeout: packageTimeout, parallel: runtime.NumCPU(),
	}
	for _, l := range listings {
		for _, found := range l.packages {
			folder := found.folder()
			run, chosen := m.pass[folder]
			if l.dir == "." && !found.suite {
				if !m.nightly {
					units.packages = append(units.packages, found.ImportPath)
				}
				continue
			}
			if m.pass != nil && !chosen {
				continue
			}
			t := suites[folder]
			j := job{
				name: folder, dir: l.dir, packages: []string{found.ImportPath}, run: run, parallel: 1, traits: t,
				// The modules below hack test from outside, with other projects' code, which takes long to compile
				// again.
				race: m.race == raceAll && l.dir == "." && t.unraced == "", timeout: t.timeoutIn(m),
			}
			if t.alone != "" {
				p.alone = append(p.alone, j)
			} else {
				p.together = append(p.together, j)
			}
		}
	}
	if len(units.packages) > 0 {
		p.units = []job{units}
	}
	slices.SortStableFunc(p.together, func(a, b job) int { return cmp.Compare(b.traits.takes, a.traits.takes) })
	return p
}

// split sorts patterns of packages by module: a folder below hack may be a module of its own.
func split(patterns, modules []string) map[string][]string {
	all := map[string][]string{}
	for _, pattern := range patterns {
		dir, rest := ".", pattern
		for _, m := range modules {
			if below, ok := strings.CutPrefix(path.Clean(pattern)+"/", m+"/"); ok {
				dir, rest = m, "./"+strings.TrimSuffix(below, "/")
			}
		}
		all[dir] = append(all[dir], rest)
	}
	return all
}

// everything reports whether the patterns ask for all packages, which includes the modules below hack.
func everything(patterns []string) bool { return slices.Equal(patterns, []string{"./..."}) }
