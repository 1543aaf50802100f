// Package processes watches the machine's list of processes, for tests of secrets that must never be in it: every
// account of a machine can read the arguments of others' processes.
package processes

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// interval is how often the list is read. A process that lives for less may be missed; one that asks an API server
// lives for longer.
const interval = 50 * time.Millisecond

// Process is a process that was seen.
type Process struct {
	// Name is its number and its program, which a test may print.
	Name string
	// Line is its command line.
	Line string
	// Environment is blank where it can't be read.
	Environment string
}

// Watch records the list of processes over a time.
type Watch struct {
	mu sync.Mutex
	// seen are processes by their numbers and command lines: a process may become another program.
	seen map[string]Process
	stop func()
}

// Start watches until Seen is called, at the latest until the test ends.
func Start(t testing.TB) *Watch {
	t.Helper()
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Fatalf("the list of processes can't be read here: %v", err)
	}
	w := &Watch{seen: map[string]Process{}}
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

// Seen ends the watch, and returns the processes that there were.
func (w *Watch) Seen() []Process {
	w.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.seen))
}

// look reads the list as it is now.
func (w *Watch) look() {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // The pattern is right.
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || len(line) == 0 {
			continue // It is gone, or it is the kernel's.
		}
		number := filepath.Base(filepath.Dir(path))
		key := number + " " + string(line)
		w.mu.Lock()
		_, known := w.seen[key]
		w.mu.Unlock()
		if known {
			continue
		}
		program, _, _ := strings.Cut(string(line), "\x00")
		environment, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "environ")) // Others' can't be read by everybody.
		w.mu.Lock()
		w.seen[key] = Process{Name: number + " " + filepath.Base(program), Line: string(line),
			Environment: string(environment)}
		w.mu.Unlock()
	}
}
