package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

var update = flag.Bool("update", false,
	"Write docs/kubectl-apikey.md instead of comparing with it, as make generate does.")

// page is the commands' page: their own help, between two parts by hand.
const page = "docs/kubectl-apikey.md"

// exitCodes are what the codes mean, for the page.
var exitCodes = []string{
	exitOK:     "Done. `explain`: the request may pass. `identify`: the token works.",
	exitFailed: "Something went wrong; the message says what to do.",
	exitUsage:  "The command line is wrong. Nothing was sent.",
	exitNo: "The answer is no. `explain`: the request is refused. `identify`: the token is no key's, or does not " +
		"work.",
	exitTimeout:  "What was waited for did not come in time. What was asked for stays asked for.",
	exitDeclined: "Nobody has said yes. Nothing was changed.",
}

// setups prepare what a command's examples need and a reader has anyway. Only the tests of the pages read them.
var setups = map[string]string{
	"identify": `kubectl get secret -n warehouse storefront -o jsonpath='{.data.token}' | base64 -d >leaked.token
TOKEN=$(cat leaked.token)`,
}

// notRun are commands whose examples the tests of the pages don't run, and why.
var notRun = map[string]string{
	"ui": "it serves until it is told to stop; internal/test/suites/plugin runs it",
}

// TestPage compares the page with what the commands say of themselves.
func TestPage(t *testing.T) {
	path := filepath.Join("..", "..", page)
	written := writePage(t)
	if *update {
		if err := os.WriteFile(path, written, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content, written) {
		t.Errorf("%s is not what the commands say: run make generate", page)
	}
}

func writePage(t *testing.T) []byte {
	t.Helper()
	intro, err := os.ReadFile("page.md")
	if err != nil {
		t.Fatal(err)
	}
	root := newRoot(newInvocation(genericiooptions.NewTestIOStreamsDiscard()))
	b := bytes.NewBuffer(intro)
	fmt.Fprint(b, "\n## Exit codes\n\n| code | means |\n|---|---|\n")
	for code, meaning := range exitCodes {
		fmt.Fprintf(b, "| %d | %s |\n", code, meaning)
	}
	fmt.Fprint(b, "\n## Commands\n\n| command | does |\n|---|---|\n")
	commands := slices.DeleteFunc(root.Commands(),
		func(c *cobra.Command) bool { return c.Name() == "help" || c.Name() == "completion" })
	for _, c := range commands {
		fmt.Fprintf(b, "| [%s](#%s) | %s |\n", c.Name(), c.Name(), c.Short)
	}
	for _, c := range commands {
		writeCommand(t, b, c)
	}
	fmt.Fprint(b, "\n## Flags of every command\n\nThose of kubectl itself.\n\n")
	writeFlags(b, root.PersistentFlags())
	return b.Bytes()
}

func writeCommand(t *testing.T, b *bytes.Buffer, c *cobra.Command) {
	t.Helper()
	if c.Example == "" || c.Long == "" {
		t.Errorf("%s has no example, or no help", c.Name())
	}
	fmt.Fprintf(b, "\n## %s\n\n", c.Name())
	writeText(b, c.Long)
	fmt.Fprintf(b, "```text\n%s\n```\n\n", c.UseLine())
	if setup := setups[c.Name()]; setup != "" {
		fmt.Fprintf(b, "<!-- test:\n%s\n-->\n", setup)
	}
	if why := notRun[c.Name()]; why != "" {
		fmt.Fprintf(b, "<!-- not run: %s -->\n", why)
	}
	fmt.Fprintf(b, "```sh\n%s\n```\n\n", c.Example)
	writeFlags(b, c.NonInheritedFlags())
}

// writeText writes paragraphs. Those that are indented are for the eye as they are.
func writeText(b *bytes.Buffer, text string) {
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(paragraph, "  ") {
			fmt.Fprintf(b, "```text\n%s\n```\n\n", paragraph)
			continue
		}
		fmt.Fprintf(b, "%s\n\n", paragraph)
	}
}

// writeFlags writes a table of flags. Where a default depends on the machine it is left out.
func writeFlags(b *bytes.Buffer, flags *pflag.FlagSet) {
	fmt.Fprint(b, "| flag | meaning | default |\n|---|---|---|\n")
	flags.SortFlags = true
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Deprecated != "" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name += ", `-" + f.Shorthand + "`"
		}
		value := f.DefValue
		if value != "" && value != "false" && value != "[]" && f.Name != "cache-dir" {
			value = "`" + value + "`"
		} else {
			value = ""
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", name, strings.ReplaceAll(f.Usage, "|", "\\|"), value)
	})
}

// TestEveryExitCodeIsExplained checks that each exit code has a meaning in the page.
func TestEveryExitCodeIsExplained(t *testing.T) {
	if len(exitCodes) != exitDeclined+1 || slices.Contains(exitCodes, "") {
		t.Errorf("%q", exitCodes)
	}
}
