package programs

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var requirement = regexp.MustCompile(`(?m)^\s*([\w./~-]+\.[\w./~-]+) (v\S+)(?: // indirect)?$`)

// requirements are the versions of modules in a go.mod.
func requirements(t *testing.T, gomod string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(top, gomod))
	if err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, match := range requirement.FindAllSubmatch(content, -1) {
		versions[string(match[1])] = string(match[2])
	}
	return versions
}

// TestSharedCompilation: Go compiles a package once for the control plane and for this project only if both have it, and all that
// it imports, in the same versions. One module that differs can cost minutes.
func TestSharedCompilation(t *testing.T) {
	plane, ours := requirements(t, "hack/controlplane/go.mod"), requirements(t, "go.mod")
	if len(ours) < 50 || len(plane) < 150 {
		t.Fatalf("read only %d and %d requirements", len(ours), len(plane))
	}
	apart := map[string]bool{ // Modules that none of our programs imports, or that Kubernetes replaces.
		"k8s.io/apiextensions-apiserver": true,
		"golang.org/x/tools":             true,
	}
	for module, version := range ours {
		if other, shared := plane[module]; shared && other != version && !apart[module] {
			t.Errorf("%s is %s in go.mod, and %s in hack/controlplane: go get %[1]s@%[2]s there", module, version, other)
		}
	}
}
