package processes_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/processes"
)

// TestSeen starts programs with something in an argument and in the environment, and finds both. They are programs that
// wait for their standard input, so that they live until they were looked at.
func TestSeen(t *testing.T) {
	argument, variable := fixture.Name("argument"), fixture.Name("variable")
	watch := processes.Start(t)
	command := exec.CommandContext(t.Context(), "sh", "-c", "read line", argument)
	command.Env = append(os.Environ(), "CANARY="+variable)
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	seen := watch.Seen()
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait() // It ends with 1: there is no line.
	for _, want := range []string{argument, variable} {
		found := 0
		for _, process := range seen {
			found += strings.Count(process.Line+process.Environment, want)
		}
		if found == 0 {
			t.Errorf("%s is not among what %d processes were started with", want, len(seen))
		}
	}
}
