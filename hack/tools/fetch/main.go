// Command fetch brings other projects' programs into bin/, and builds this project's programs meanwhile:
//
//	fetch [-own NAME=PACKAGE]... [-ldflags FLAGS] [PROGRAM...]
//
// It prints nothing to standard output. To standard error it prints what it does and what remains. FETCH_DOWNLOAD=no
// builds everything from Go modules.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nexuscommerce/apikey-operator/hack/tools/fetch/programs"
)

func main() {
	var own []programs.Own
	flag.Func("own", "a program of this project to build meanwhile: NAME=PACKAGE", func(value string) error {
		name, pkg, ok := strings.Cut(value, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=PACKAGE", value)
		}
		own = append(own, programs.Own{Name: name, Package: pkg})
		return nil
	})
	ldflags := flag.String("ldflags", "-s -w", "the linker's flags for this project's programs")
	flag.Parse()
	if err := run(own, *ldflags, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "set-up:", err)
		os.Exit(1)
	}
}

func run(own []programs.Own, ldflags string, names []string) error {
	wanted, err := programs.Find(names...)
	if err != nil {
		return err
	}
	top, err := os.Getwd()
	if err != nil {
		return err
	}
	bin := filepath.Join(top, "bin")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	endWithParent(cancel)
	progress := programs.NewProgress(os.Stderr, isTerminal(os.Stderr))
	defer progress.Close()
	b := &programs.Bringer{
		Top: top, Bin: bin, Ldflags: ldflags, Progress: progress,
		Download: os.Getenv("FETCH_DOWNLOAD") != "no",
	}
	err = b.Bring(ctx, own, wanted)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("interrupted: the next run continues with what was compiled and downloaded")
	}
	return err
}

// endWithParent cancels once the process that started this one has ended, because make's shell does not pass SIGTERM
// on.
func endWithParent(cancel context.CancelFunc) {
	parent := os.Getppid()
	go func() {
		for os.Getppid() == parent {
			time.Sleep(time.Second)
		}
		cancel()
	}()
}

// isTerminal reports whether a file is a terminal, on which a line can be rewritten.
func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
