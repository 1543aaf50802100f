// Command bench measures what this project promises, on a real control plane.
//
// Machines are noisy, so a figure is a ratio of two things that were measured side by side in the same run: in rounds that
// alternate, or of both at once. The middle one counts, and the spread is shown. A table says which goals are met;
// bin/bench.json has the same for programs. What falls short is reported as it is.
//
//	make bench                    all of it
//	make bench BENCH=cold-start   one
//	make bench BENCH_SCALE=0.1    with a tenth of the keys and rounds, while working on it
//	make bench-plot               what verifiers and controller take of 10 to 100,000 keys, drawn: docs/scale.svg
//	make bench BENCH_PROFILE=dir  and CPU profiles of the servers that are put under load
//
// Load comes from programs that Debian has: wrk, h2load (in nghttp2-client) and, between the two, nginx.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/nexuscommerce/apikey-operator/internal/test/controlplane"
)

// limit bounds all of it, and leaves some of the quarter of an hour that it may take for what is built before and put away after.
const limit = 14*time.Minute + 30*time.Second

// benchmark measures figures of one kind.
type benchmark struct {
	name string
	what string
	// limit bounds it.
	limit time.Duration
	run   func(context.Context, *lab) error
	// tools are the programs that it takes beside what is built here.
	tools []string
}

// benchmarks begin with those that take seconds, and those of the largest clusters come next: if the time for all of them is over,
// what is missing are the last, which are then run one by one. Two cores that do nothing else have more than a minute left.
var benchmarks = []benchmark{
	{"decision-1000", "a decision, in process, 1,000 keys", time.Minute, decision1000, nil},
	{"malformed", "a decision about a token whose checksum is wrong", time.Minute, malformedToken, nil},
	{"decision-1m", "a decision, in process, 1,000,000 keys", time.Minute, decision1m, nil},
	{"index-memory", "memory of the index, 1,000,000 keys", time.Minute, indexMemory, nil},
	{"updates-1m", "decisions beside 1,000 updates a second, 1,000,000 keys", time.Minute, updates1m, nil},
	{"http", "processor time of a request over HTTP, by a net/http handler that does nothing", time.Minute, httpLoad, []string{"taskset", "wrk"}},
	{"grpc", "processor time of a check over gRPC, by grpc-go with its own codec", time.Minute, grpcLoad, []string{"taskset", "h2load"}},
	{"latency", "latency at 1,000 requests a second", time.Minute, latency, []string{"taskset", "wrk"}},
	{"million", "the same with 1,000,000 keys, by 10", 2 * time.Minute, million, []string{"taskset", "wrk"}},
	{"nginx", "processor time of nginx and verifier together", time.Minute, behindNginx, []string{"taskset", "wrk", "nginx"}},
	{"throughput", "minting many keys, by the same writes of a bare client", 5 * time.Minute, throughput, nil},
	{"cold-start", "starts and memory of verifier and controller, 100,000 keys", 5 * time.Minute, coldStart, nil},
	{"revocation", "from a revocation's commit to the last replica's 401", 5 * time.Minute, revocation, nil},
	{"minting", "what waiting for verifiers adds to minting", 2 * time.Minute, minting, nil},
	{"probes", "writes to the canary, by replicas", 2 * time.Minute, probes, nil},
	{"junk", "memory and good keys' requests beside 10,000 tokens a second that are none", 2 * time.Minute, junk, nil},
}

func main() {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case bareListArgument:
			os.Exit(bareList(os.Args[2:]))
		case serveArgument:
			os.Exit(serveHere(os.Args[2:]))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the benchmarks took longer than %s", limit))
	defer cancel()
	if err := act(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // What is deferred ends with the process.
	}
}

// act does what the arguments ask for: without any, it runs benchmarks.
func act(ctx context.Context) error {
	ctrl.SetLogger(logr.Discard()) // Client libraries would complain that there is none.
	bin, scale, err := settings()
	if err != nil {
		return err
	}
	switch {
	case len(os.Args) == 4 && os.Args[1] == plotArgument:
		return plot(ctx, bin, scale, os.Args[2], os.Args[3])
	case len(os.Args) == 4 && os.Args[1] == drawArgument:
		return redraw(os.Args[2], os.Args[3])
	}
	return run(ctx, bin, scale)
}

// settings returns where the programs are, and by what numbers of keys and rounds are scaled.
func settings() (bin string, scale float64, err error) {
	scale = 1
	if text := os.Getenv("BENCH_SCALE"); text != "" {
		if scale, err = strconv.ParseFloat(text, 64); err != nil || scale <= 0 || scale > 1 {
			return "", 0, fmt.Errorf("BENCH_SCALE=%s must be more than 0 and at most 1", text)
		}
	}
	if bin = os.Getenv("BIN"); bin == "" {
		bin = filepath.Join(controlplane.Root(), "bin")
	}
	return bin, scale, nil
}

func run(ctx context.Context, bin string, scale float64) error {
	chosen, err := choose(os.Getenv("BENCH"))
	if err != nil {
		return err
	}
	book, err := measureAll(ctx, chosen, bin, scale)
	book.print(os.Stdout)
	return errors.Join(err, book.save(filepath.Join(bin, "bench.json")))
}

// measureAll runs benchmarks one after another, whatever becomes of those before. What one has not measured is in the ledger as a
// goal that is not met.
func measureAll(ctx context.Context, chosen []benchmark, bin string, scale float64) (*ledger, error) {
	book := &ledger{}
	var errs []error
	for _, b := range chosen {
		fmt.Printf("%s: %s\n", b.name, b.what)
		began := time.Now()
		if err := measure(ctx, b, bin, scale, book); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", b.name, err))
			book.miss(b)
			fmt.Printf("  failed: %s\n", err)
		}
		fmt.Printf("  %.1f s\n", time.Since(began).Seconds())
	}
	return book, errors.Join(errs...)
}

// measure runs one benchmark, and leaves nothing running.
func measure(ctx context.Context, b benchmark, bin string, scale float64, book *ledger) (err error) {
	if err := needTools(b.tools); err != nil {
		return err
	}
	if ctx.Err() != nil { // A control plane is not started for that.
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, b.limit, fmt.Errorf("it took longer than %s", b.limit))
	defer cancel()
	l := &lab{bin: bin, scale: scale, book: book}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := b.run(ctx, l); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

// choose returns the benchmarks that a name stands for: all for none.
func choose(name string) ([]benchmark, error) {
	if name == "" {
		return benchmarks, nil
	}
	names := make([]string, len(benchmarks))
	for i, b := range benchmarks {
		if b.name == name {
			return []benchmark{b}, nil
		}
		names[i] = b.name
	}
	return nil, fmt.Errorf("there is no benchmark %q: there are %s", name, strings.Join(names, ", "))
}
