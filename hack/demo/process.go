package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// grace is how long a child may take to end.
const grace = 20 * time.Second

// process is a child that writes to a log of its own, and ends with the demo at the latest.
type process struct {
	name    string
	log     string
	command *exec.Cmd
	ending  atomic.Bool
	exited  chan struct{}
}

// startProcess starts a child in a process group of its own: Ctrl-C in the terminal reaches only the demo, which then
// ends its children in order. If the child exits before it is asked to, early is called with the reason.
func startProcess(log string, env, words []string, early func(error)) (*process, error) {
	output, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer output.Close() //nolint:errcheck // The child has its own descriptor, and nothing is written through this one.
	p := &process{
		name:    strings.TrimSuffix(filepath.Base(log), ".log"),
		log:     log,
		command: exec.Command(words[0], words[1:]...),
		exited:  make(chan struct{}),
	}
	p.command.Env = env
	p.command.Stdout, p.command.Stderr = output, output
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("starting the %s: %w", p.name, err)
	}
	go func() {
		_ = p.command.Wait() // ProcessState has more.
		close(p.exited)
		if !p.ending.Load() {
			early(fmt.Errorf("the %s exited by itself: %s", p.name, p.command.ProcessState))
		}
	}()
	return p, nil
}

// stopProcesses asks all processes to end at the same time, and kills those that do not.
func stopProcesses(processes []*process) error {
	for _, p := range processes {
		p.ending.Store(true)
		p.signal(syscall.SIGTERM)
	}
	waiting, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	var errs []error
	for _, p := range processes {
		select {
		case <-p.exited:
			continue
		case <-waiting.Done():
		}
		p.signal(syscall.SIGKILL)
		<-p.exited
		errs = append(errs, fmt.Errorf("the %s did not end within %s of SIGTERM, and was killed", p.name, grace))
	}
	return errors.Join(errs...)
}

// signal sends a signal to the child and everything that it has started, unless the child has already been waited for:
// its ID may then belong to another process.
func (p *process) signal(signal syscall.Signal) {
	select {
	case <-p.exited:
	default:
		_ = syscall.Kill(-p.command.Process.Pid, signal)
	}
}

// tail returns the last lines of a log.
func tail(path string, lines int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	for i := range all {
		all[i] = shorten(all[i], 400)
	}
	return strings.Join(all, "\n")
}
