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

// pkg is what go list says of a package that has tests.
type pkg struct {
	ImportPath                string
	Dir                       string
	TestGoFiles, XTestGoFiles []string
	// suite reports whether its tests start programs. All others are unit tests.
	suite bool
}

// folder is the package's, relative to the top of the repository. The modules below hack have paths that say where they
// are.
func (p pkg) folder() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// starts is how tests start a control plane, or the project's programs, or another.
var starts = regexp.MustCompile(
	`\b(install\.(New|ControlPlane|StartVerifier)|controlplane\.Start|` +
		`program\.(Build|Start\w*)|need\.(ControlPlane|Program))\(`)

// job is one go test command.
type job struct {
	name string
	// dir is the module's folder, relative to the top.
	dir      string
	packages []string
	// run is go test's -run; blank is all.
	run     string
	race    bool
	timeout time.Duration
	// parallel is how many packages are built and tested at a time.
	parallel int
	traits   traits
	// compilers are variables for compilers, which the tests don't get.
	compilers []string
}

// command is go test with its arguments. What the user gives comes last, and wins.
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
	if j.run != "" {
		words = append(words, "-run="+j.run)
	}
	return append(append(words, flags...), j.packages...)
}

// environment is what go test gets beside the rest. Without the race detector, packages are compiled with what make
// build compiles them with, and so only once. Compilers may use the memory that is free; the tests themselves don't see
// those variables.
func (j job) environment(flags []string) []string {
	if j.race || slices.Contains(flags, "-race") {
		return j.compilers
	}
	return append(slices.Clip(j.compilers), "CGO_ENABLED=0")
}

// plan is what is run: unit tests first, then suites side by side, then those that must be alone.
type plan struct {
	units, together, alone []job
	fuzz                   bool
}

// jobs are all of them.
func (p plan) jobs() []job { return slices.Concat(p.units, p.together, p.alone) }

// suites are those that need the project's programs.
func (p plan) suites() []job { return slices.Concat(p.together, p.alone) }

// folders are those of all packages, to see which programs their tests need.
func (p plan) folders() []string {
	var all []string
	for _, j := range p.jobs() {
		for _, name := range j.packages {
			all = append(all, pkg{ImportPath: name}.folder())
		}
	}
	return all
}

// listing is the packages of a module.
type listing struct {
	dir      string // relative to the top; "." is the root module
	packages []pkg
}

// planFor makes a plan for packages.
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
				units.packages = append(units.packages, found.ImportPath)
				continue
			}
			if m.pass != nil && !chosen {
				continue
			}
			t := suites[folder]
			j := job{
				name: folder, dir: l.dir, packages: []string{found.ImportPath}, run: run, parallel: 1, traits: t,
				// The modules below hack judge from outside, with other projects' code, which takes long to compile anew.
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

// split sorts patterns of packages by the module that they are in: a folder below hack may have one of its own.
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

// everything reports whether the patterns ask for all there is: then the modules below hack take part.
func everything(patterns []string) bool { return slices.Equal(patterns, []string{"./..."}) }
