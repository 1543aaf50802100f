// Package processes watches the machine's list of processes, for tests of what must never be in there: everybody with an account on
// a machine can read what others were started with.
package processes

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// interval is how often the list is read. A process that lives for less may be missed; one that asks an API server lives for longer.
const interval = 50 * time.Millisecond

// Watch is the list of processes over a time.
type Watch struct {
	mu sync.Mutex
	// seen is what processes were started with, their command lines and environments, by process and how often it has been replaced
	// by another program.
	seen map[string]string
	stop func()
}

// Start watches until Seen is called, at the latest until the test ends.
func Start(t testing.TB) *Watch {
	t.Helper()
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Fatalf("the list of processes can't be read here: %v", err)
	}
	w := &Watch{seen: map[string]string{}}
	ended, done := make(chan struct{}), make(chan struct{})
	w.stop = sync.OnceFunc(func() {
		close(ended)
		<-done
	})
	t.Cleanup(w.stop)
	go func() {
		defer close(done)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			w.look()
			select {
			case <-ended:
				w.look()
				return
			case <-tick.C:
			}
		}
	}()
	return w
}

// Seen ends the watch, and returns the command lines and the environments of all processes that there were, by their numbers.
func (w *Watch) Seen() map[string]string {
	w.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// look reads the list as it is now.
func (w *Watch) look() {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // The pattern is right.
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || len(line) == 0 {
			continue // It is gone, or it is the kernel's.
		}
		name := filepath.Base(filepath.Dir(path)) + ": " + strings.ReplaceAll(strings.TrimRight(string(line), "\x00"), "\x00", " ")
		w.mu.Lock()
		_, known := w.seen[name]
		w.mu.Unlock()
		if known {
			continue
		}
		environment, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "environ")) // Others' can't be read by everybody.
		w.mu.Lock()
		w.seen[name] = string(line) + string(environment)
		w.mu.Unlock()
	}
}
