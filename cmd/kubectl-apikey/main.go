// Command kubectl-apikey is `kubectl apikey`: keys from the command line, with the user's own rights, through the
// Kubernetes API alone. Each command has a file of its own; what the page shares with it is in internal/keys.
//
// A token is never an argument. Only create --show and create --local print one, to standard output or to a file;
// nothing else does, including errors and -v=9.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// completer is the name by which kubectl looks for a plugin's completions: a link to this program.
const completer = "kubectl_complete-apikey"

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	args := os.Args[1:]
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == completer {
		args = append([]string{"__complete"}, args...)
	}
	out := &standardOutput{file: os.Stdout}
	code := execute(ctx, newInvocation(genericiooptions.IOStreams{In: os.Stdin, Out: out, ErrOut: os.Stderr}), args)
	if code == exitOK && out.err != nil {
		fmt.Fprintf(os.Stderr, "error: not everything was printed: %v\n%s\n", out.err, fileHint)
		return exitFailed
	}
	return code
}

// standardOutput remembers that a write has failed, such as to a file on a full disk: most callers don't check.
type standardOutput struct {
	file *os.File
	err  error
}

func (o *standardOutput) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// Fd returns the file descriptor, for checks whether it is a terminal.
func (o *standardOutput) Fd() uintptr { return o.file.Fd() }
