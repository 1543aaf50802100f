package plugin_test

import (
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// runOnTerminal runs the plugin on a terminal of its own, by script(1), which util-linux has everywhere, and types what
// is on standard input.
func runOnTerminal(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || args[0] != "kubectl" || args[1] != "apikey" {
		ts.Fatalf("usage: terminal kubectl apikey ARG...")
	}
	s := scriptRunOf(ts)
	in := s.parse(ts, neg, args[1:])
	line := strings.Join(append([]string{in.program}, in.args...), " ")
	in.program = need.Program(s.t, "script")
	in.args = []string{"--quiet", "--return", "--command", line, os.DevNull}
	s.run(ts, in)
}
