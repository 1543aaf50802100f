package programs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Own is a program of this project. It is built with the same settings as the others, so that packages used by both are
// compiled once.
type Own struct {
	Name, Package string
}

// builder runs the go command.
type builder struct {
	top      string // of the checkout
	bin      string
	ldflags  string // of this project's programs
	progress *Progress
}

// own builds a program of this project. Go does nothing if nothing has changed.
func (b *builder) own(ctx context.Context, o Own) error {
	return b.build(ctx, b.top, b.ldflags, filepath.Join(b.bin, o.Name), o.Package)
}

// modules builds programs from the modules that pin them. The programs of one module are built together, to use every
// core.
func (b *builder) modules(ctx context.Context, all []Program) error {
	var errs []error
	for len(all) > 0 {
		first := all[0].Module
		var same, rest []Program
		for _, p := range all {
			if p.Module.Dir == first.Dir && p.Module.Ldflags == first.Ldflags {
				same = append(same, p)
			} else {
				rest = append(rest, p)
			}
		}
		errs, all = append(errs, b.module(ctx, same)), rest
	}
	return errors.Join(errs...)
}

func (b *builder) module(ctx context.Context, group []Program) error {
	stage, err := os.MkdirTemp(b.bin, ".build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage) //nolint:errcheck // Nothing in it is needed.
	packages := make([]string, len(group))
	for i, p := range group {
		packages[i] = p.Module.Package
	}
	from := group[0].Module
	if err := b.build(ctx, filepath.Join(b.top, from.Dir), from.Ldflags, stage+"/", packages...); err != nil {
		return err
	}
	for _, p := range group {
		whole := filepath.Join(stage, executable(p.Module.Package))
		if err := p.install(b.bin, whole, "built from "+p.Module.Package); err != nil {
			return err
		}
		b.progress.Ready(p.Name, "built")
	}
	return nil
}

// build runs CGO_ENABLED=0 go build -trimpath, so that each package is compiled once for all programs. The result runs
// on this machine, even if the environment cross-compiles the product.
func (b *builder) build(ctx context.Context, dir, ldflags, out string, packages ...string) error {
	args := []string{"build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", out}
	command := b.command(ctx, dir, append(args, packages...)...)
	var complaints bytes.Buffer
	command.Stderr = &lines{each: func(line string) {
		switch {
		case downloading.MatchString(line):
			b.progress.module()
		case importPath.MatchString(line):
			b.progress.compiling(line)
		default:
			complaints.WriteString(line + "\n")
		}
	}}
	if err := command.Run(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("go %s in %s: %w\n%s", strings.Join(args[:1], " "), dir, err, complaints.String())
	}
	return nil
}

var (
	downloading = regexp.MustCompile(`^go: (downloading|finding|extracting) `)
	importPath  = regexp.MustCompile(`^[\w.~+/-]+$`)
)

// plan reports to the progress what a build will have to compile. This downloads the modules that the build needs.
func (b *builder) plan(ctx context.Context, dir string, packages ...string) error {
	const format = `{{.ImportPath}}|{{.Dir}}|{{join .GoFiles "|"}}`
	command := b.command(ctx, dir, append([]string{"list", "-deps", "-f", format}, packages...)...)
	var out bytes.Buffer
	command.Stdout = &out
	var complaints bytes.Buffer
	command.Stderr = &lines{each: func(line string) {
		if downloading.MatchString(line) {
			b.progress.module()
		} else {
			complaints.WriteString(line + "\n")
		}
	}}
	if err := command.Run(); err != nil {
		return fmt.Errorf("go list in %s: %w\n%s", dir, err, complaints.String())
	}
	for line := range strings.Lines(out.String()) {
		fields := strings.Split(strings.TrimSpace(line), "|")
		size := int64(0)
		for _, file := range fields[2:] {
			if info, err := os.Stat(filepath.Join(fields[1], file)); err == nil {
				size += info.Size()
			}
		}
		b.progress.planned(fields[0], size)
	}
	return nil
}

func (b *builder) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOOS=", "GOARCH=", "GOWORK=off")
	command.Env = append(command.Env, CompilerMemory()...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGINT) } // It removes its temporary files.
	command.WaitDelay = 10 * time.Second
	return command
}

var majorVersion = regexp.MustCompile(`^v\d+$`)

// executable returns the name that go build gives a program.
func executable(pkg string) string {
	name := path.Base(pkg)
	if majorVersion.MatchString(name) {
		name = path.Base(path.Dir(pkg))
	}
	return name
}

// lines is a writer that passes on whole lines.
type lines struct {
	each func(string)
	rest string
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.rest += string(p)
	for {
		line, rest, whole := strings.Cut(l.rest, "\n")
		if !whole {
			return len(p), nil
		}
		l.each(strings.TrimSpace(line))
		l.rest = rest
	}
}

var _ io.Writer = (*lines)(nil)
