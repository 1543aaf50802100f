package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"regexp"
	"strings"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Exit codes. They are part of what scripts rely on: docs/kubectl-apikey.md lists them.
const (
	exitOK       = 0 // Done; with explain, the request may pass; with identify, the token works.
	exitFailed   = 1 // Something went wrong: the message says what to do.
	exitUsage    = 2 // The command line is wrong. Nothing was sent.
	exitNo       = 3 // The answer is no: explain refuses, or the token of identify is no key's or does not work.
	exitTimeout  = 4 // What was waited for did not come in time. What was asked for stays asked for.
	exitDeclined = 5 // Nobody has said yes. Nothing was changed.
)

// exitError is an error with an exit code. If it is blank, everything was printed already.
type exitError struct {
	code int
	text string
}

func (e *exitError) Error() string { return e.text }

// usagef returns the error of a wrong command line.
func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Sprintf(format, args...)}
}

// exitCode returns the exit code for an error.
func exitCode(err error) int {
	var coded *exitError
	var timeout *keys.TimeoutError
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &timeout):
		return exitTimeout
	}
	return exitFailed
}

// fileHint is the advice for a file that can't be written.
const fileHint = "Name a new file, in a folder that you may write to, on a disk that has room."

// explainError returns what went wrong and what to do about it.
func explainError(err error) string {
	text := err.Error()
	hint := ""
	var coded *exitError
	switch {
	case errors.As(err, &coded):
	case keys.FaultOf(err) != keys.FaultUnreachable:
		_, hint = keys.CommandLine.Explain(err)
	case clientcmd.IsEmptyConfig(err):
		hint = "Set --kubeconfig or KUBECONFIG."
	default:
		hint = localHint(err)
	}
	if hint != "" {
		text = strings.TrimRight(text, ".") + "\n" + hint
	}
	return text
}

// localHint returns what to do about an error of this machine, or of the network.
func localHint(err error) string {
	var network net.Error
	var path *fs.PathError
	switch {
	case errors.As(err, &path) && path.Op == "stat": // Only the kubeconfig is looked for in this way.
		return "Set --kubeconfig or KUBECONFIG to a file that is there."
	case errors.As(err, &path):
		return fileHint
	case strings.Contains(err.Error(), "getting credentials: "): // client-go's error has no type.
		return "The kubeconfig has a program get your credentials, and that failed. The API server was not asked."
	case errors.As(err, &network):
		return "Is the API server up? kubectl cluster-info tries it; kubectl config current-context names the cluster."
	}
	return ""
}

// tokenLike matches tokens in an argument: whole ones of any format, and most of one of ours.
var tokenLike = regexp.MustCompile(`nxc_(live|test)_[0-9A-Za-z]{20,}|[0-9A-Za-z_]+_[0-9A-Za-z]{57}`)

// refuseTokens refuses a command line that holds a token, without repeating it: it would go on into messages, and into
// the API server's log.
func refuseTokens(args []string) error {
	for _, arg := range args {
		for _, found := range tokenLike.FindAllString(arg, -1) {
			if strings.HasPrefix(found, string(token.FormatLive)) || strings.HasPrefix(found, string(token.FormatTest)) ||
				token.WellFormed(found) {
				return usagef(
					"there is a token on the command line, where the shell's history and the list of processes keep it: treat it as " +
						"leaked, and rotate or revoke its key. " +
						"To ask which key that is: kubectl apikey identify, which reads the token from standard input")
			}
		}
	}
	return nil
}
