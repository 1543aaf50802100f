package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

// waiting has the flags of commands that can wait for the result of a change.
type waiting struct {
	on      bool
	timeout time.Duration
}

func (f *waiting) addFlags(cmd *cobra.Command, usage string) {
	cmd.Flags().BoolVar(&f.on, "wait", false, usage)
	cmd.Flags().DurationVar(&f.timeout, "timeout", 2*time.Minute, "How long to wait; 0 is without end.")
}

// context returns a context that ends when the time to wait is over.
func (f *waiting) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, f.timeout)
}

// dryRun is the flag --dry-run.
type dryRun string

func (f *dryRun) addFlag(cmd *cobra.Command) {
	*f = "none"
	cmd.Flags().Var(f, "dry-run",
		"none; client: say what would be done and send nothing; server: have the API server check it and do nothing.")
	cmd.Flags().Lookup("dry-run").NoOptDefVal = "client"
	_ = cmd.RegisterFlagCompletionFunc("dry-run",
		cobra.FixedCompletions([]string{"none", "client", "server"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *dryRun) String() string { return string(*f) }

func (f *dryRun) Type() string { return "string" }

func (f *dryRun) Set(value string) error {
	switch value {
	case "none", "client", "server":
		*f = dryRun(value)
		return nil
	}
	return usagef("must be none, client or server")
}

func (f *dryRun) on() bool     { return *f != "none" }
func (f *dryRun) client() bool { return *f == "client" }
func (f *dryRun) server() bool { return *f == "server" }
