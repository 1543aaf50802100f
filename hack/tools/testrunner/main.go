// Command testrunner runs the tests of make test-quick, make test, make test-all and make test-nightly:
//
//	look ──► table of what tests need ──► bring what can be brought ──► unit tests ──► suites ──► summary
//
// A program that can't be brought is not a failure: the tests that need it are skipped, and listed again at the end.
// With REQUIRE_ALL=1 they fail. With RERUN_FAILED=1, as in CI, a package that failed runs once more, by itself.
//
//	testrunner -mode quick|normal|full|nightly [-race auto|-race|""] [PATTERN...] [-- FLAG...]
//	testrunner -prepare    installs what .ci/run needs beyond that
//
// The flags after -- are go test's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	os.Exit(supervise())
}

// supervise runs the requested tests, and returns the exit code.
func supervise() int {
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "test:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if o.prepare {
		return prepare(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.mode.limit, fmt.Errorf("the run took longer than %s", o.mode.limit))
	defer cancel()
	ok, err := (&runner{options: o, began: time.Now()}).run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "test:", err)
	}
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return 130
	case err != nil || !ok || ctx.Err() != nil:
		return 1
	}
	return 0
}

// options are what the command line asks for.
type options struct {
	mode     mode
	patterns []string
	// flags are flags of go test.
	flags   []string
	prepare bool
}

// parse parses the command line.
func parse(args []string) (options, error) {
	var o options
	set := flag.NewFlagSet("test", flag.ContinueOnError)
	name := set.String("mode", normal, "how much to do: quick, normal, full or nightly")
	asked := set.String("race", "auto", "where the race detector watches: auto, blank for nowhere, -race for everywhere")
	set.BoolVar(&o.prepare, "prepare", false, "install what .ci/run needs, and end")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	o.patterns = set.Args()
	if i := slices.Index(o.patterns, "--"); i >= 0 {
		o.patterns, o.flags = o.patterns[:i], o.patterns[i+1:]
	}
	if len(o.patterns) == 0 {
		o.patterns = []string{"./..."}
	}
	var err error
	o.mode, err = modeOf(*name, *asked)
	return o, err
}

// verbose reports whether all output is wanted.
func (o options) verbose() bool {
	return slices.ContainsFunc(o.flags, func(f string) bool { return f == "-v" || f == "-v=true" || f == "-test.v" })
}
