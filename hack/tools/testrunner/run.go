package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// runner runs the tests.
type runner struct {
	options

	began  time.Time
	top    string
	env    []string
	report *report
	// compilers are environment variables for compilers only.
	compilers []string

	mu      sync.Mutex
	running map[string]time.Time
}

// run does all of it, and reports whether everything passed.
func (r *runner) run(ctx context.Context) (bool, error) {
	var err error
	if r.top, err = os.Getwd(); err != nil {
		return false, err
	}
	r.report = &report{out: os.Stdout, verbose: r.verbose()}
	r.running = map[string]time.Time{}
	p, err := r.prepare(ctx)
	if err != nil {
		return false, err
	}
	done := make(chan struct{})
	defer close(done)
	go r.heartbeat(done)
	r.report.streams = len(p.folders()) == 1
	schedule(ctx, p, parallel(), r.job)
	r.again(ctx, p)
	if p.fuzz && ctx.Err() == nil {
		r.fuzz(ctx)
	}
	if ctx.Err() != nil {
		say("\nNot everything was run: %v", context.Cause(ctx))
	}
	return r.report.summary(time.Since(r.began), need.Required()), nil
}

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// job runs a go test command.
func (r *runner) job(ctx context.Context, j job) {
	r.note(j.name, true)
	defer r.note(j.name, false)
	j.compilers = r.compilers
	words := j.command(r.flags)
	events := newReader(r.report)
	var complaint bytes.Buffer
	err := r.start(ctx, j, words, events, &complaint)
	if left := events.unfinished(); err != nil && (len(left) > 0 || !events.failed) {
		text := fmt.Sprintf("%s: %v\n%s%s", strings.Join(words, " "), err, complaint.String(), events.stray.String())
		if ctx.Err() != nil {
			text = "stopped before its tests had ended: " + context.Cause(ctx).Error()
		}
		if len(left) == 0 {
			left = []*result{{name: j.name, tests: map[string]*test{}}}
		}
		for _, p := range left {
			p.outcome = failed
			p.output.WriteString(text)
			r.report.ended(p)
		}
	}
}

// start runs a job's command, parses its standard output as events, and leaves nothing of it running.
func (r *runner) start(ctx context.Context, j job, words []string, events *reader, complaint *bytes.Buffer) error {
	m := newMark()
	command := exec.CommandContext(ctx, words[0], words[1:]...)
	command.Dir = j.dir
	command.Env = append(slices.Concat(r.env, j.environment(r.flags)), string(m))
	command.Stdout, command.Stderr = events, complaint
	asGroup(command)
	err := command.Run()
	if state := command.ProcessState; state != nil {
		// Of the command and of all that it has waited for.
		r.report.spent(j.name, state.UserTime()+state.SystemTime())
	}
	events.end()
	if left := m.sweep(); left > 0 && ctx.Err() == nil {
		say("     %s left %d processes behind, which are ended now", strings.Join(words[len(words)-1:], " "), left)
	}
	return err
}

// fuzz runs every fuzz target for a while.
func (r *runner) fuzz(ctx context.Context) {
	const name = "fuzzing"
	r.note(name, true)
	defer r.note(name, false)
	length := os.Getenv("FUZZTIME")
	if length == "" {
		length = "20s"
	}
	began := time.Now()
	command := exec.CommandContext(ctx, "hack/fuzz.sh", length)
	command.Env = r.env
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	asGroup(command)
	err := command.Run()
	r.report.ended(fuzzed(out.String(), err, time.Since(began)))
}

// note records that a job runs, or has ended.
func (r *runner) note(name string, runs bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if runs {
		r.running[name] = time.Now()
	} else {
		delete(r.running, name)
	}
}

// heartbeat prints which jobs run, now and then.
func (r *runner) heartbeat(done <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			r.mu.Lock()
			jobs := maps.Clone(r.running)
			r.mu.Unlock()
			r.report.running(now, jobs)
		}
	}
}
