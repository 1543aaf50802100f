package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nexuscommerce/apikey-operator/hack/tools/fetch/programs"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// bringer brings what is missing. Something that it can't bring is not an error: the tests that need it are skipped.
type bringer struct {
	top string
	say func(format string, args ...any)
}

// assets is the environment variable for the folder of the control plane's programs.
const assets = "KUBEBUILDER_ASSETS"

// thisMachine inspects the machine. Unless the user names a control plane, it sets the environment variable to the one
// that will be brought, for the tests and for everything else that looks for it.
func thisMachine(top string) (machine, error) {
	_, apt := exec.LookPath("apt-get")
	m := machine{
		debian: os.Geteuid() == 0 && apt == nil && os.Getenv("INSTALL") != "no",
		look:   need.Item.Look,
		top:    top,
		assets: os.Getenv(assets),
	}
	if m.assets != "" {
		return m, nil
	}
	found, err := programs.Find("etcd")
	if err != nil {
		return m, err
	}
	return m, os.Setenv(assets, filepath.Dir(found[0].Path(filepath.Join(top, "bin"))))
}

// compiler returns the C compiler that the race detector needs, or "" if none works.
func compiler(ctx context.Context) string {
	cc := cmp.Or(os.Getenv("CC"), "gcc")
	if os.Getenv("CGO_ENABLED") == "0" {
		return ""
	}
	command := exec.CommandContext(ctx, "sh", "-c", cc+" -x c -fsyntax-only -")
	command.Stdin = strings.NewReader("#include <stdlib.h>\n")
	if command.Run() != nil {
		return ""
	}
	path, err := exec.LookPath(strings.Fields(cc)[0])
	if err != nil {
		return cc
	}
	return path
}

// bring brings what the rows say will be brought.
func (b bringer) bring(ctx context.Context, rows []row) {
	if err := b.install(ctx, rows); err != nil {
		b.say("not installed: %v", err)
	}
	fetched, targets := remaining(rows)
	b.fetch(ctx, fetched)
	for _, target := range targets {
		if err := b.make(ctx, target); err != nil {
			b.say("%s: %v", target, err)
		}
	}
}

// fetch runs hack/tools/fetch to bring programs.
func (b bringer) fetch(ctx context.Context, names []string) {
	if len(names) == 0 {
		return
	}
	command := exec.CommandContext(ctx, "go", append([]string{"run", "-trimpath", "./hack/tools/fetch"}, names...)...)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := b.run(command); err != nil {
		b.say("%s: %v", strings.Join(names, " "), err)
	}
}

// remaining returns what hack/tools/fetch and make targets still have to bring after packages were installed.
func remaining(rows []row) (fetched, targets []string) {
	for _, r := range rows {
		if !r.brought() || r.name == cCompiler {
			continue
		}
		item := need.Find(r.name)
		if _, err := item.Look(); err == nil {
			continue
		}
		switch _, err := programs.Find(r.name); {
		case item.Name == axe:
			targets = append(targets, "axe")
		case err == nil:
			fetched = append(fetched, r.name)
		case item.Target != "":
			targets = append(targets, item.Target)
		}
	}
	return fetched, targets
}

// make runs a make target.
func (b bringer) make(ctx context.Context, target string) error {
	return b.run(exec.CommandContext(ctx, "make", "--no-print-directory", "--silent", target))
}

// run runs a command at the top of the repository, as a process group that ends with the context.
func (b bringer) run(command *exec.Cmd) error {
	command.Dir = b.top
	if command.Stdout == nil {
		command.Stdout = os.Stdout
	}
	command.Stderr = os.Stderr
	if command.Env == nil {
		command.Env = os.Environ()
	}
	command.Env = append(command.Env, programs.CompilerMemory()...)
	asGroup(command)
	return command.Run()
}

// guard is the program that invoke-rc.d asks whether a service may start: see its manual. Nginx and HAProxy come with
// services.
const guard = "/usr/sbin/policy-rc.d"

// install installs the Debian packages of rows, and starts none of their services. A mirror that does not answer costs
// a few seconds.
func (b bringer) install(ctx context.Context, rows []row) (err error) {
	var packages []string
	for _, r := range rows {
		packages = append(packages, strings.Fields(r.packages)...)
	}
	if len(packages) == 0 {
		return nil
	}
	slices.Sort(packages)
	packages = slices.Compact(packages)
	b.say("installing %s", strings.Join(packages, " "))
	if _, err := os.Stat(guard); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(guard, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.Remove(guard)) }()
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	apt := func(args ...string) error {
		flags := []string{
			"-q", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=5", "-o", "Acquire::https::Timeout=5",
		}
		command := exec.CommandContext(ctx, "apt-get", append(flags, args...)...)
		command.Env = append(os.Environ(), "RUNLEVEL=1", "DEBIAN_FRONTEND=noninteractive")
		var log bytes.Buffer
		command.Stdout, command.Stderr = &log, &log
		asGroup(command)
		if err := command.Run(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, tail(log.String()))
		}
		return nil
	}
	if err := apt("update"); err != nil {
		return err
	}
	install := []string{"install", "-y", "--no-install-recommends"}
	if apt(append(install, packages...)...) == nil {
		return nil
	}
	var errs []error // A package that the mirror lacks must not keep the others away.
	for _, name := range packages {
		errs = append(errs, apt(append(install, name)...))
	}
	return errors.Join(errs...)
}

// tail returns the last lines of a log.
func tail(log string) string {
	lines := strings.Split(strings.TrimRight(log, "\n"), "\n")
	return indent(strings.Join(lines[max(0, len(lines)-10):], "\n"))
}
