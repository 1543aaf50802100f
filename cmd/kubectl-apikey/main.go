// Command kubectl-apikey is `kubectl apikey`: keys from the command line, with the rights of whoever runs it, through the
// Kubernetes API alone. A file holds a command; what a page would share with it is in internal/keys.
//
// A token never is an argument, and is printed in one place each: what create --show and create --local write to standard
// output or to a file. Everything else, errors and -v=9 included, holds none.
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
	code := execute(ctx, newSession(genericiooptions.IOStreams{In: os.Stdin, Out: out, ErrOut: os.Stderr}), args)
	if code == exitOK && out.err != nil {
		fmt.Fprintf(os.Stderr, "error: not everything was printed: %v\n%s\n", out.err, fileHint)
		return exitFailed
	}
	return code
}

// standardOutput remembers that something could not be written, such as to a file on a full disk: most of what is printed goes there
// unchecked.
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

// Fd is for whoever asks whether a person sits there.
func (o *standardOutput) Fd() uintptr { return o.file.Fd() }
