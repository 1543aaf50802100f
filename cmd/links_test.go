// Package cmd_test checks what the programs in this folder are linked from.
package cmd_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestNoToolIsLinked: go.mod also names the generators that make runs. They are no part of a program that is shipped.
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
