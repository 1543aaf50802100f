// Command bench measures what this project promises, on a real control plane.
//
// Machines are noisy, so a figure is a ratio of two things that were measured side by side in the same run: in rounds
// that alternate, or of both at once. The middle one counts, and the spread is shown. A goal is missed only where the
// rounds miss it beyond their spread. A table says which goals are met; bin/bench.json has the same for programs. What
// could not be measured is left out, with the reason. How long each benchmark may take follows from how fast the
// machine is; one that is asked for by name may take as long as it does.
//
// The exit code is 0 if no goal is missed, 1 if one is, 2 if something could not be measured, and 3 for both. make
// itself always exits with 2, and names the code: "Error 1".
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

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// benchmark measures one or more figures.
type benchmark struct {
	name string
	what string
	// limit is how long it may take on the reference machine.
	limit time.Duration
	run   func(context.Context, *testbed) error
	// tools are the programs that it needs beside those built here.
	tools []string
}

// benchmarks starts with those that take seconds. Each limit is at least twice the time that the benchmark takes on two
// idle cores.
var benchmarks = []benchmark{
	{"decision-1000", "a decision, in process, 1,000 keys", time.Minute, decision1000, nil},
	{"malformed", "a decision about a token whose checksum is wrong", time.Minute, malformedToken, nil},
	{"decision-1m", "a decision, in process, 1,000,000 keys", time.Minute, decision1m, nil},
	{"index-memory", "memory of the index, 1,000,000 keys", time.Minute, indexMemory, nil},
	{"updates-1m", "decisions beside 1,000 updates a second, 1,000,000 keys", time.Minute, updates1m, nil},
	{
		"http", "processor time of a request over HTTP, by a net/http handler that does nothing", time.Minute, httpLoad,
		[]string{"taskset", "wrk"},
	},
	{
		"grpc", "processor time of a check over gRPC, by grpc-go with its own codec", time.Minute, grpcLoad,
		[]string{"taskset", "h2load"},
	},
	{"latency", "latency at 1,000 requests a second", time.Minute, latency, []string{"taskset", "wrk"}},
	{"million", "the same with 1,000,000 keys, by 10", 2 * time.Minute, million, []string{"taskset", "wrk"}},
	{
		"nginx", "processor time of nginx and verifier together", time.Minute, behindNginx,
		[]string{"taskset", "wrk", "nginx"},
	},
	{
		"proxies", "processor time and latency of requests through proxies, by other ways of deciding", 8 * time.Minute,
		behindProxies, []string{"taskset", "wrk"},
	},
	{"throughput", "minting many keys, by the same writes of a bare client", 5 * time.Minute, throughput, nil},
	{"cold-start", "starts and memory of verifier and controller, 100,000 keys", 8 * time.Minute, coldStart, nil},
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
	code, err := act(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.Exit(code) //nolint:gocritic // Deferred calls are not needed: the process ends.
}

// act does what the arguments ask for. Without arguments it runs benchmarks. It returns the exit code.
func act(ctx context.Context) (int, error) {
	ctrl.SetLogger(logr.Discard()) // Otherwise client libraries complain that there is no logger.
	bin, scale, err := settings()
	switch {
	case err != nil:
	case len(os.Args) == 4 && os.Args[1] == plotArgument:
		err = plot(ctx, bin, scale, os.Args[2], os.Args[3])
	case len(os.Args) == 4 && os.Args[1] == drawArgument:
		err = redraw(os.Args[2], os.Args[3])
	default:
		return run(ctx, bin, scale)
	}
	if err != nil {
		return exitLeftOut, err
	}
	return 0, nil
}

// settings returns the folder of the programs, and the factor for the numbers of keys and rounds.
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

// run runs the requested benchmarks, prints their results, and returns the exit code.
func run(ctx context.Context, bin string, scale float64) (int, error) {
	name := os.Getenv("BENCH")
	chosen, err := choose(name)
	if err != nil {
		return exitLeftOut, err
	}
	limits := budgets{unbounded: true}
	if name == "" {
		limits = calibrate()
		fmt.Printf("%s: at most %s\n", limits, limits.total(chosen))
	}
	sayWhatIsMissing(chosen)
	results := measureAll(ctx, chosen, limits, bin, scale)
	results.print(os.Stdout)
	results.printLeftOut(os.Stdout)
	code := exitCode(results.figures)
	fmt.Printf("\nexit %d: %s\n", code, meaning(code))
	if err := results.save(filepath.Join(bin, "bench.json")); err != nil {
		return code | exitLeftOut, err
	}
	return code, nil
}

// sayWhatIsMissing reports which programs are missing and which benchmarks are left out because of that, before
// anything is measured.
func sayWhatIsMissing(chosen []benchmark) {
	for _, b := range chosen {
		if err := needTools(b.tools); err != nil {
			fmt.Printf("%s will be left out: %s\n", b.name, err)
		}
	}
}

// measureAll runs benchmarks one after another, even if some fail. The results say what was not measured.
func measureAll(ctx context.Context, chosen []benchmark, limits budgets, bin string, scale float64) *resultList {
	results := &resultList{}
	for _, b := range chosen {
		fmt.Printf("%s: %s\n", b.name, b.what)
		began := time.Now()
		if err := measure(ctx, b, limits.limit(b.limit), bin, scale, results); err != nil {
			results.miss(b, err)
			fmt.Printf("  failed: %s\n", err)
		}
		fmt.Printf("  %.1f s\n", time.Since(began).Seconds())
	}
	return results
}

// measure runs one benchmark, for no longer than a limit unless that is 0, and leaves nothing running.
func measure(ctx context.Context, b benchmark, limit time.Duration, bin string, scale float64,
	results *resultList) (err error) {
	if err := needTools(b.tools); err != nil {
		return err
	}
	if ctx.Err() != nil { // Don't start a control plane that is stopped at once.
		return context.Cause(ctx)
	}
	if limit > 0 {
		bounded, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("longer than %s", limit))
		defer cancel()
		ctx = bounded
	}
	bed := &testbed{bin: bin, scale: scale, results: results}
	defer func() { err = errors.Join(err, bed.close()) }()
	if err := b.run(ctx, bed); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

// choose returns the benchmarks with a name, or all if the name is blank.
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
	return nil, fmt.Errorf("unknown benchmark %q: choose one of %s", name, strings.Join(names, ", "))
}
