// Package program builds this project's binaries and runs them as processes of their own, for tests of what only a
// whole process can show: being killed, its RBAC, its logs.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// Programs is the environment variable that names a folder with the project's programs, as make build leaves them
// there. The test targets of the Makefile set it after a build, so that not every test links them again.
const Programs = "APIKEY_PROGRAMS"

// Build returns the path of the binary of a command, such as ./cmd/controller: the one in the folder that Programs
// names, or else one that is built for the test, from the tree as it is now.
func Build(t testing.TB, command string) string {
	t.Helper()
	if folder := os.Getenv(Programs); folder != "" {
		binary := filepath.Join(folder, installedName(filepath.Base(command)))
		if _, err := os.Stat(binary); err != nil {
			t.Fatalf("%s=%s: %v: run make build, or unset %s", Programs, folder, err, Programs)
		}
		return binary
	}
	binary := filepath.Join(t.TempDir(), filepath.Base(command))
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, command)
	build.Dir = controlplane.Root()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", command, err, out)
	}
	return binary
}

// installedName returns the name that make build gives to the binary of a folder of cmd: kubectl finds its plugins by
// theirs.
func installedName(command string) string {
	if strings.HasPrefix(command, "kubectl-") {
		return command
	}
	return "apikey-" + command
}

// Process is a running binary.
type Process struct {
	command *exec.Cmd
	exited  chan struct{}
	log     lockedBuffer
}

// Start starts a binary. It is killed at the end of the test, if it runs that long.
func Start(t testing.TB, binary string, args ...string) *Process {
	t.Helper()
	return StartTo(t, nil, binary, args...)
}

// StartTo starts a binary whose standard output is a file; nil is for its log.
func StartTo(t testing.TB, stdout *os.File, binary string, args ...string) *Process {
	t.Helper()
	p := &Process{command: exec.CommandContext(context.Background(), binary, args...), exited: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = &p.log, &p.log
	if stdout != nil {
		p.command.Stdout = stdout
	}
	if err := p.command.Start(); err != nil {
		t.Fatalf("starting %s: %v", binary, err)
	}
	go func() {
		_ = p.command.Wait()
		close(p.exited)
	}()
	t.Cleanup(p.Kill)
	return p
}

// Kill ends the process as kill -9 does, and waits until it is gone.
func (p *Process) Kill() {
	_ = p.command.Process.Kill() // It may have ended by itself.
	<-p.exited
}

// Terminate asks the process to end as Kubernetes does, and returns its exit code; -1 if it does not end in time.
func (p *Process) Terminate(timeout time.Duration) int {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return p.command.ProcessState.ExitCode()
	case <-time.After(timeout):
		return -1
	}
}

// Signal sends the process a signal.
func (p *Process) Signal(signal os.Signal) { _ = p.command.Process.Signal(signal) }

// PID returns the process's ID.
func (p *Process) PID() int { return p.command.Process.Pid }

// Exited returns a channel that is closed once the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// ExitCode returns the exit code of a process that has ended.
func (p *Process) ExitCode() int { return p.command.ProcessState.ExitCode() }

// Log returns all that the process has printed.
func (p *Process) Log() string { return p.log.String() }

// FreeAddress returns an address on loopback that nobody listened on a moment ago.
func FreeAddress(t testing.TB) string {
	t.Helper()
	address, err := Address(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// given has the addresses that Address has returned: a caller may listen on one only after it has asked for others.
var given sync.Map

// Address returns an address on loopback that nobody listened on a moment ago, and that it has not returned before. Its
// port is none of those that Linux gives to connections (32768 and up, see ip(7)): one of those could be taken by a
// connection before the caller listens.
func Address(ctx context.Context) (string, error) {
	const lowest, ports, attempts = 20000, 12000, 100
	err := errors.New("no address on loopback is free")
	for range attempts {
		address := fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(ports))
		if _, before := given.LoadOrStore(address, true); before {
			continue
		}
		listener, failure := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if failure == nil {
			return address, listener.Close()
		}
		err = failure
	}
	return "", err
}

// WaitUntil polls until a condition returns no error, and fails the test with its last error after a timeout.
func WaitUntil(t testing.TB, timeout time.Duration, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s: %v", what, timeout, err)
		}
		<-tick.C
	}
}

// Get returns the body of a URL's answer.
func Get(t testing.TB, url string) string {
	t.Helper()
	_, body, err := get(t.Context(), http.DefaultClient, url)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func get(ctx context.Context, web *http.Client, url string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	response, err := web.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// Answers returns a condition: a URL answers 200, with all of some texts in the body.
func Answers(ctx context.Context, url string, texts ...string) func() error {
	return AnswersTo(ctx, http.DefaultClient, url, texts...)
}

// AnswersTo is Answers for a client of its own.
func AnswersTo(ctx context.Context, web *http.Client, url string, texts ...string) func() error {
	return func() error {
		status, body, err := get(ctx, web, url)
		if err != nil {
			return err
		}
		if status != http.StatusOK {
			return fmt.Errorf("%s answers %d", url, status)
		}
		for _, text := range texts {
			if !bytes.Contains(body, []byte(text)) {
				return fmt.Errorf("%s does not say %q", url, text)
			}
		}
		return nil
	}
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
