package programs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// checkout is a folder with a module that "prog" can be built from.
func checkout(t *testing.T, source string) (*environment, Program) {
	t.Helper()
	w := newEnvironment(t)
	w.b.Top, w.b.Bin, w.b.Ldflags = t.TempDir(), w.bin, "-s -w"
	dir := filepath.Join(w.b.Top, "hack", "prog")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"go.mod": "module example.com/prog\n\ngo 1.26\n", "main.go": source} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w, Program{
		Name: "prog", Dir: "tools", Version: "1",
		Module: Module{Dir: "hack/prog", Package: "example.com/prog", Ldflags: "-s -w"},
	}
}

const good = "package main\n\nfunc main() { println(\"built\") }\n"

// TestBuilt checks that a program that can't be downloaded is built, and that nothing is done if it is already in bin.
func TestBuilt(t *testing.T) {
	w, p := checkout(t, good)
	p.Downloads = release("sha256:0", "http://127.0.0.1:1/a.tar.gz").Downloads
	if err := w.b.Bring(t.Context(), nil, []Program{p}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), p.Path(w.bin)).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "built" {
		t.Fatalf("%v: %s", err, out)
	}
	w.said("no download of release (127.0.0.1:1: ")
	w.said("prog is ready (built)")
	w.out.Reset()
	if err := w.b.Bring(t.Context(), nil, []Program{p}); err != nil || w.out.Len() > 0 {
		t.Fatalf("%v: %s", err, w.out)
	}
}

// TestBroken checks that a compiler's error is shown, and that no part of the program is left.
func TestBroken(t *testing.T) {
	w, p := checkout(t, "package main\n\nfunc main() { undefined() }\n")
	err := w.b.Bring(t.Context(), nil, []Program{p})
	if err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Fatal(err)
	}
	w.empty(p)
}

// TestInterrupted checks that an interrupted run leaves no part of a program, and that the next run brings it.
func TestInterrupted(t *testing.T) {
	w, p := checkout(t, good)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.b.Bring(ctx, nil, []Program{p}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	w.empty(p)
	if err := w.b.Bring(t.Context(), nil, []Program{p}); err != nil || !p.Present(w.bin) {
		t.Fatal(err)
	}
}

// empty fails if bin holds the program or a part of it.
func (e *environment) empty(p Program) {
	e.Helper()
	if _, err := os.Stat(p.Path(e.bin)); err == nil {
		e.Error("bin holds the program, or a part of it")
	}
	if left, _ := filepath.Glob(filepath.Join(e.bin, ".build-*")); len(left) > 0 {
		e.Errorf("left: %v", left)
	}
}

// TestNoDownload checks that no host is asked if downloads are switched off.
func TestNoDownload(t *testing.T) {
	w, p := checkout(t, good)
	h := newHost(t, tarball(t, "dir/prog"))
	p.Downloads = release(sha256Of(h.content), h.URL+"/a.tar.gz").Downloads
	w.b.Download = false
	if err := w.b.Bring(t.Context(), nil, []Program{p}); err != nil || h.requests.Load() > 0 {
		t.Fatalf("%v, %d requests", err, h.requests.Load())
	}
}

// TestProgress checks the line that says what is ready, what was compiled, and how long the rest will take.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := NewProgress(&out, false)
	defer p.Close()
	p.now = func() time.Time { return now }
	p.started = now
	if line := p.line(); line != "" {
		t.Errorf("nothing to wait for: %q", line)
	}
	p.expect(3)
	p.planned("a", 300)
	p.planned("b", 600)
	p.planned("b", 600)
	p.compiling("a")
	now = now.Add(2 * time.Minute)
	p.compiling("a") // Compiled for another program, with other settings.
	const want = "set-up: 0 of 3 programs ready; 2 packages compiled, 33%, now a; about 4 min left (2m0s so far)"
	if got := p.line(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestProgressOfFew checks that no time is estimated if Go's cache holds nearly everything.
func TestProgressOfFew(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := NewProgress(&out, false)
	defer p.Close()
	p.now = func() time.Time { return now }
	p.started = now
	p.expect(1)
	p.planned("cached", 9990)
	p.planned("new", 10)
	p.Ready("prog", "built")
	now = now.Add(30 * time.Second)
	if want, got := "set-up: 1 of 1 programs ready; now this project's own (30s so far)", p.line(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.compiling("new")
	now = now.Add(30 * time.Second)
	if want, got := "set-up: 1 of 1 programs ready; 1 packages compiled, now new (1m0s so far)", p.line(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestTerminal checks that a terminal's line is rewritten, and removed before a line that stays is printed.
func TestTerminal(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, true)
	p.show("set-up: " + strings.Repeat("long ", 40))
	p.Note("%s is ready", "prog")
	p.Close()
	got := out.String()
	if !strings.HasSuffix(got, "…\r\x1b[Kset-up: prog is ready\n") {
		t.Errorf("%q", got)
	}
}
