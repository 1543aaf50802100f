package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
)

// lasting is a runnable that runs until the context ends, and signals its beginning and end.
type lasting struct{ began, ended chan struct{} }

func newLasting() lasting { return lasting{make(chan struct{}), make(chan struct{})} }

func (l lasting) run(ctx context.Context) error {
	close(l.began)
	<-ctx.Done()
	close(l.ended)
	return nil
}

// TestServersEndLast ends the context: the servers run until the work has ended.
func TestServersEndLast(t *testing.T) {
	server, stopped, release := newLasting(), make(chan struct{}), make(chan struct{})
	work := func(ctx context.Context) error {
		<-ctx.Done()
		close(stopped)
		<-release
		return errors.New("failed to sign off") // It is logged.
	}
	done := func(context.Context) error { return nil }
	p := parts{work: []runnable{work, done}, servers: []runnable{server.run}, timeout: waitTimeout, log: logr.Discard()}
	ctx, stop := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- p.run(ctx) }()
	<-server.began
	stop()
	<-stopped
	select {
	case <-server.ended:
		t.Error("a server has ended before the work")
	case err := <-result:
		t.Fatalf("ended before the work has: %v", err)
	default:
	}
	close(release)
	if err := <-result; err != nil {
		t.Errorf("after the context has ended: %v", err)
	}
	<-server.ended
}

func TestFailureEndsEverything(t *testing.T) {
	failure := errors.New("no more")
	fails := func(context.Context) error { return failure }
	for name, p := range map[string]func(other runnable) parts{
		"work":   func(other runnable) parts { return parts{work: []runnable{other, fails}} },
		"server": func(other runnable) parts { return parts{work: []runnable{other}, servers: []runnable{fails}} },
	} {
		t.Run(name, func(t *testing.T) {
			other := newLasting()
			all := p(other.run)
			all.timeout, all.log = waitTimeout, logr.Discard()
			if err := all.run(t.Context()); !errors.Is(err, failure) {
				t.Errorf("%v, want the failure", err)
			}
			<-other.ended
		})
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	stuck := func(context.Context) error {
		<-release
		return nil
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := (parts{work: []runnable{stuck}, timeout: time.Millisecond, log: logr.Discard()}).run(ctx); err == nil {
		t.Error("no error")
	}
}
