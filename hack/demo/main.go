// Command demo shows the whole project at work: a real control plane, the controller and the verifier with their own
// service accounts' permissions, and a real proxy in front of an API that is called with the minted keys.
//
//	          ┌────────────┐  status, Secrets   ┌────────────────┐
//	kubectl ─►│ API server │◄──────────────────►│ controller     │
//	          └─────┬──────┘                    └────────────────┘
//	                │ watch: digests only
//	          ┌─────▼──────┐  may it?   ┌───────┐   yes   ┌──────────┐
//	          │ verifier   │◄───────────┤ proxy ├────────►│ upstream │
//	          └────────────┘            └───▲───┘         └──────────┘
//	                                        │ Authorization: Bearer nxc_live_…
//	                                      caller
//
// "make demo" walks through it and fails where anything is not as it should be. "make run" (--keep) leaves it running
// until interrupted. Neither leaves a process behind, nor a file outside bin/.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/guide"
)

// demoLimit limits the walk-through. Everything that it needs has been built before.
const demoLimit = 3 * time.Minute

// interrupted is the cause of a context that ends because a person or a program asks the demo to stop.
type interrupted struct{ by string }

func (i interrupted) Error() string { return "asked to stop: " + i.by }

func main() {
	keep := flag.Bool("keep", false,
		"leave everything running until interrupted; uses the cluster of KUBECONFIG where that is set")
	name := flag.String("proxy", "caddy", "the proxy in front of the API")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo: what is %q? The only flags are --keep and --proxy.\n", flag.Args())
		os.Exit(2)
	}
	if _, err := guide.Named(*name); err != nil {
		fmt.Fprintln(os.Stderr, "demo: --proxy:", err)
		os.Exit(2)
	}
	os.Exit(supervise(options{keep: *keep, proxy: *name}))
}

// options are what the flags say.
type options struct {
	// keep leaves everything running.
	keep bool
	// proxy is a key of guide.Proxies.
	proxy string
}

// supervise runs the demo, and returns the exit code.
func supervise(o options) int {
	started := time.Now()
	say := transcript{out: os.Stdout}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	endOnRequest(say, cancel)
	if !o.keep {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, demoLimit, fmt.Errorf("the demo took longer than %s", demoLimit))
		defer stop()
	}

	err := run(ctx, cancel, say, o)

	var by interrupted
	switch asked := errors.As(err, &by); {
	case err == nil || asked && o.keep:
		say.step("Done in %.0f s. Nothing is left running; logs are in bin/dev/logs", time.Since(started).Seconds())
		return 0
	case asked:
		say.step("Not finished. Nothing is left running; logs are in bin/dev/logs")
		return 130
	default:
		return 1
	}
}

// endOnRequest cancels the context on a signal, or when the parent process is gone: "go run" does not pass SIGTERM on.
func endOnRequest(say transcript, cancel context.CancelCauseFunc) {
	// If a reader goes away (make demo | head), SIGPIPE would end this process before it has cleaned up.
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE}
	if !signal.Ignored(syscall.SIGHUP) { // nohup make run
		signals = append(signals, syscall.SIGHUP)
	}
	received := make(chan os.Signal, 1)
	signal.Notify(received, signals...)
	parent := os.Getppid()
	go func() {
		by := ""
		for by == "" {
			select {
			case s := <-received:
				by = s.String()
			case <-time.After(time.Second):
				if os.Getppid() != parent {
					by = "the process that started this one has ended"
				}
			}
		}
		cancel(interrupted{by: by})
		say.step("Asked to stop (%s): ending everything", by) // Further signals change nothing.
	}()
}
