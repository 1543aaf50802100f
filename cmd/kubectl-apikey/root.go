package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nexuscommerce/apikey-operator/internal/version"
)

// newRoot returns the command with all its subcommands.
func newRoot(s *invocation) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-apikey",
		Short: "Make, list, rotate and revoke API keys",
		Long: `Make, list, rotate and revoke API keys, with your own rights, through the Kubernetes API.

No token is ever an argument: the shell's history and the list of processes would keep it.`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl apikey"},
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = "; did you mean " + strings.Join(near, " or ") + "?"
			}
			return usagef("there is no command %q%s", args[0], hint)
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.ErrOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%v; see %s --help", err, cmd.CommandPath())
	})
	root.SuggestionsMinimumDistance = 2
	s.addFlags(root)
	root.AddCommand(
		newCreate(s), newList(s), newDescribe(s), newTenant(s), newScopes(s), newRotate(s), newSuspend(s), newResume(s),
		newRevoke(s), newIdentify(s), newExplain(s), newUI(s),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.CompletionOptions.HiddenDefaultCmd = false
	return root
}

// execute runs a command line, prints what went wrong, and returns the exit code.
func execute(ctx context.Context, s *invocation, args []string) int {
	err := refuseTokens(args)
	if err == nil {
		root := newRoot(s)
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		return exitOK
	}
	if text := explainError(err); text != "" {
		fmt.Fprintln(s.ErrOut, "error: "+printableLines(text))
	}
	return exitCode(err)
}

// argCount returns a check of how many arguments there are.
func argCount(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usagef("%s takes %s; see %s --help", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}
