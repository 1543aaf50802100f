// Package cmd_test checks what the programs in this folder are linked from.
package cmd_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestNoToolIsLinked checks that no program links the generators that make runs, which go.mod names, too.
func TestNoToolIsLinked(t *testing.T) {
	const module = "{{with .Module}}{{.Path}}{{end}}"
	tools := list(t, "-f", module, "tool")
	if want := "sigs.k8s.io/controller-tools"; !slices.Contains(tools, want) {
		t.Fatalf("go.mod has the tools of %q, without %s", tools, want)
	}
	linked := list(t, "-deps", "-f", module, "./...")
	if want := "k8s.io/client-go"; !slices.Contains(linked, want) {
		t.Fatalf("the programs are linked from %q, without %s", linked, want)
	}
	for _, tool := range tools {
		if slices.Contains(linked, tool) {
			t.Errorf("a program in cmd/ links a package of %s, which is a tool", tool)
		}
	}
}

// TestOnlyTheVerifierLinksTheFeed checks that no program but the verifier links the watch feed. What the others have to
// know of a key is in keystate, which links neither a client nor the index.
func TestOnlyTheVerifierLinksTheFeed(t *testing.T) {
	const internal = "github.com/nexuscommerce/apikey-operator/internal/"
	programs := list(t, "./...")
	if len(programs) < 4 {
		t.Fatalf("the programs are %q", programs)
	}
	for _, program := range programs {
		links := slices.Contains(list(t, "-deps", program), internal+"feed")
		if verifier := strings.HasSuffix(program, "/cmd/verifier"); links != verifier {
			t.Errorf("%s links the feed: %t", program, links)
		}
	}
	for _, linked := range list(t, "-deps", internal+"keystate") {
		if strings.HasPrefix(linked, internal) && linked != internal+"keystate" && linked != internal+"token" ||
			strings.HasPrefix(linked, "k8s.io/client-go") {
			t.Errorf("keystate links %s", linked)
		}
	}
}

// list returns the distinct lines that go list prints.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %s", command, err)
	}
	lines := strings.Fields(string(out))
	slices.Sort(lines)
	return slices.Compact(lines)
}
