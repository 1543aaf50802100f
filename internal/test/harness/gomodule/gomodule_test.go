package gomodule_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/gomodule"
)

// TestBuilt checks that the objects which tests apply are of the version that is built.
func TestBuilt(t *testing.T) {
	for dir, m := range map[string]gomodule.Module{
		"contour": gomodule.Contour, "envoygateway": gomodule.EnvoyGateway,
	} {
		sums, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "hack", "tools", dir, "go.sum"))
		if err != nil {
			t.Fatal(err)
		}
		if line := m.Path + " " + m.Version + " " + m.Sum + "\n"; !strings.Contains(string(sums), line) {
			t.Errorf("hack/tools/%s/go.sum has no %q", dir, line)
		}
	}
}
