// Command kubectl-apikey is `kubectl apikey`: keys from the command line, with the rights of whoever runs it, through the
// Kubernetes API alone. A file holds a command; what a page would share with it is in internal/keys.
//
// A token never is an argument, and is printed in one place each: what create --show and create --local write to standard
// output or to a file. Everything else, errors and -v=9 included, holds none.
package main

import (
	"context"
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
	return execute(ctx, newSession(genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}), args)
}
