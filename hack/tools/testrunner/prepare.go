package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nexuscommerce/apikey-operator/hack/tools/fetch/programs"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// prepare prints what is available, brings what can be brought, and returns the plan.
func (r *runner) prepare(ctx context.Context) (plan, error) {
	var p plan
	all := everything(r.patterns)
	folders := r.mode.folders()
	if !all { // For some of the tests, go list is needed to know the folders.
		var err error
		if p, err = r.plan(ctx); err != nil {
			return p, err
		}
		folders = p.folders()
	}
	here, err := thisMachine(r.top)
	if err != nil {
		return p, err
	}
	here.nightly = r.mode.nightly
	rows := here.rows(folders)
	if r.mode.race != raceOff {
		rows = append([]row{here.compilerRow(compiler(ctx))}, rows...)
	}
	if len(rows) > 0 {
		printTable(os.Stdout, rows)
	}
	r.bring(ctx, rows)
	if all {
		if p, err = r.plan(ctx); err != nil {
			return p, err
		}
		p.fuzz = r.mode.fuzz && len(r.flags) == 0
	}
	if len(p.suites()) > 0 {
		say("building this project's programs")
		return p, bringer{r.top, say}.make(ctx, "build")
	}
	return p, nil
}

// bring brings what is missing, and sets the environment of the tests.
func (r *runner) bring(ctx context.Context, rows []row) {
	b := bringer{r.top, say}
	b.bring(ctx, rows)
	r.compilers = programs.CompilerMemory()
	r.env = append(os.Environ(), r.mode.variable(), "BIN="+filepath.Join(r.top, "bin"),
		// envtest keeps a file there for each port that it has given out. The folder is not the user's, and the same
		// for all suites.
		"XDG_CACHE_HOME="+filepath.Join(r.top, "bin", "dev", "cache"), "GOCACHE="+goEnv(ctx, "GOCACHE"),
		ownPrograms+"="+filepath.Join(r.top, "bin"))
	if r.mode.nightly {
		r.env = append(r.env, need.Nightly+"=1")
	}
	for _, needed := range rows {
		if needed.name == cCompiler {
			if compiler(ctx) == "" {
				r.mode.race = raceOff
				r.report.lack(skip{folder: cCompiler, test: needed.without, reason: needed.how})
			}
			continue
		}
		if _, err := need.Find(needed.name).Look(); err != nil && needed.brought() {
			say("%s could not be brought, and is not covered: %s. To have it: %s", needed.name, needed.without, needed.how)
		}
	}
}

// ownPrograms is program.Programs of internal/test/harness. Importing that package would compile all of Kubernetes'
// libraries first.
const ownPrograms = "APIKEY_PROGRAMS"

func goEnv(ctx context.Context, name string) string {
	out, _ := exec.CommandContext(ctx, "go", "env", name).Output() // Without Go, nothing here would run.
	return strings.TrimSpace(string(out))
}

// folders returns the folders whose tests the mode runs.
func (m mode) folders() []string {
	if m.pass != nil {
		return slices.Sorted(maps.Keys(m.pass))
	}
	var all []string
	for _, item := range need.All {
		for _, folder := range item.Users {
			if (m.modules || !strings.HasPrefix(folder, "hack/")) && (m.browser || folder != browser) {
				all = append(all, folder)
			}
		}
	}
	return all
}

// browser is the module that needs a browser.
const browser = "hack/suites/browser"

// plan lists the packages, and returns the plan for them.
func (r *runner) plan(ctx context.Context) (plan, error) {
	modules, err := tested(r.top)
	if err != nil {
		return plan{}, err
	}
	patterns := split(r.patterns, modules)
	if everything(r.patterns) && r.mode.modules {
		for _, dir := range modules {
			if dir != browser || r.mode.browser {
				patterns[dir] = []string{"./..."}
			}
		}
	}
	var listings []listing
	for _, dir := range slices.Sorted(maps.Keys(patterns)) {
		found, err := list(ctx, dir, patterns[dir])
		if err != nil {
			return plan{}, err
		}
		listings = append(listings, listing{dir, found})
	}
	m := r.mode
	if !everything(r.patterns) {
		m.pass = nil // Tests that are named are run.
	}
	return planFor(m, listings), nil
}

// tested returns the modules below hack that have tests.
func tested(top string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(top, "hack", "*", "*", "go.mod"))
	var all []string
	for _, path := range paths {
		dir := filepath.Dir(path)
		var tests []string // In the module's folder, or in one below it.
		for _, pattern := range []string{"*_test.go", "*/*_test.go"} {
			found, _ := filepath.Glob(filepath.Join(dir, pattern)) // The pattern is valid.
			tests = append(tests, found...)
		}
		if len(tests) > 0 {
			all = append(all, "hack/"+filepath.Base(filepath.Dir(dir))+"/"+filepath.Base(dir))
		}
	}
	return all, err
}

// list returns the packages of a module that have tests.
func list(ctx context.Context, dir string, patterns []string) ([]pkg, error) {
	args := []string{"list", "-e", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles"}
	command := exec.CommandContext(ctx, "go", append(args, patterns...)...)
	command.Dir = dir
	var complaint bytes.Buffer
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s in %s: %w\n%s", strings.Join(patterns, " "), dir, err, complaint.String())
	}
	var all []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		switch err := decoder.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		files := slices.Concat(p.TestGoFiles, p.XTestGoFiles)
		for _, name := range files {
			content, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				return nil, err
			}
			p.suite = p.suite || starts.Match(content)
		}
		if len(files) > 0 {
			all = append(all, p)
		}
	}
}
