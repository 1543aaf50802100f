// Package daemon is what the project's long-running programs share: flags, the log, the way to the API server, checks
// at the start, and how they end.
package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	clientconfig "sigs.k8s.io/controller-runtime/pkg/client/config"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager/signals"

	"github.com/nexuscommerce/apikey-operator/internal/version"
)

// Options are a program's own flags.
type Options interface {
	// AddFlags declares the flags.
	AddFlags(flags *flag.FlagSet)
	// Complete validates the flags and parses their values. The error names each flag that is wrong.
	Complete() error
}

// Main runs a program until a signal ends the context, and then ends the process: with 0, or with 1 and one line that
// says why.
func Main(name string, o Options, serve func(context.Context, *rest.Config) error) {
	if err := run(name, o, os.Stdout, serve); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, oneLine(err))
		os.Exit(1)
	}
}

// oneLine returns an error's message in one line, however many errors it joins.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
}

func run(name string, o Options, out io.Writer, serve func(context.Context, *rest.Config) error) error {
	o.AddFlags(flag.CommandLine)
	logOptions := zap.Options{}
	logOptions.BindFlags(flag.CommandLine)
	printVersion := flag.Bool("version", false, "Print the version and exit.")
	if err := parse(name, out); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return fmt.Errorf("%w: see --help", err)
	}
	if *printVersion {
		_, err := fmt.Fprintln(out, version.String())
		return err
	}
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: every setting is a flag, see --help", flag.Arg(0))
	}
	if err := o.Complete(); err != nil {
		return err
	}
	log := lazily(zap.New(zap.UseFlagOptions(&logOptions)))
	logf.SetLogger(log)
	klog.SetLogger(log)

	config, err := clientconfig.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w; set --kubeconfig or KUBECONFIG, or run in a pod", err)
	}
	config.UserAgent = name + "/" + version.String()
	// Policies and webhooks can add warnings to the answer for a Secret, and may quote it. By default, they are logged.
	config.WarningHandler = rest.NoWarnings{}
	return serve(signals.SetupSignalHandler(), config)
}

// SplitList returns the elements of a flag's value that separates them by commas. Spaces and empty elements are
// dropped.
func SplitList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// parse parses the command line. It prints the help if the flag asks for it. The caller reports errors, in one line.
func parse(name string, out io.Writer) error {
	flags := flag.CommandLine
	flags.Init(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	// Errors are about the outside world, and their messages say enough. --zap-stacktrace-level turns stack traces on.
	if err := flags.Set("zap-stacktrace-level", "panic"); err != nil {
		return err
	}
	err := flags.Parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(out)
		flags.Usage()
	}
	return err
}
