package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
)

// lasting is something that runs until it is told to end, and says when it does so.
type lasting struct{ began, ended chan struct{} }

func newLasting() lasting { return lasting{make(chan struct{}), make(chan struct{})} }

func (l lasting) run(ctx context.Context) error {
	close(l.began)
	<-ctx.Done()
	close(l.ended)
	return nil
}

// TestWhoWatchesEndsLast stops everything: who says how the work is doing answers until that has ended.
func TestWhoWatchesEndsLast(t *testing.T) {
	watched, told, release := newLasting(), make(chan struct{}), make(chan struct{})
	work := func(ctx context.Context) error {
		<-ctx.Done()
		close(told)
		<-release
		return errors.New("said goodbye to nobody") // Which is logged.
	}
	done := func(context.Context) error { return nil }
	p := parts{work: []runnable{work, done}, watched: []runnable{watched.run}, patience: patience, log: logr.Discard()}
	ctx, stop := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- p.run(ctx) }()
	<-watched.began
	stop()
	<-told
	select {
	case <-watched.ended:
		t.Error("nobody says how the work is doing that has not ended")
	case err := <-result:
		t.Fatalf("ended before the work has: %v", err)
	default:
	}
	close(release)
	if err := <-result; err != nil {
		t.Errorf("told to end: %v", err)
	}
	<-watched.ended
}

func TestWhatFailsEndsEverything(t *testing.T) {
	failure := errors.New("no more")
	fails := func(context.Context) error { return failure }
	for name, p := range map[string]func(other runnable) parts{
		"work":   func(other runnable) parts { return parts{work: []runnable{other, fails}} },
		"server": func(other runnable) parts { return parts{work: []runnable{other}, watched: []runnable{fails}} },
	} {
		t.Run(name, func(t *testing.T) {
			other := newLasting()
			all := p(other.run)
			all.patience, all.log = patience, logr.Discard()
			if err := all.run(t.Context()); !errors.Is(err, failure) {
				t.Errorf("%v, want what failed", err)
			}
			<-other.ended
		})
	}
}

func TestWhatDoesNotEndIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	stuck := func(context.Context) error {
		<-release
		return nil
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := (parts{work: []runnable{stuck}, patience: time.Millisecond, log: logr.Discard()}).run(ctx); err == nil {
		t.Error("nothing is said of it")
	}
}
