package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// TestNginxAlone sees that what is left of the guide's configuration without the question is still one.
func TestNginxAlone(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join(controlplane.Root(), "docs", "guides", "nginx", "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(string) (string, error){
		"alone": nginxAlone,
		"map":   func(text string) (string, error) { return nginxMap(text, []subject{syntheticKey(0)}) },
	} {
		text, err := change(string(guide))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if open, closed := strings.Count(text, "{"), strings.Count(text, "}"); open != closed {
			t.Errorf("%s: %d blocks begin and %d end:\n%s", name, open, closed, text)
		}
		if strings.Contains(text, "auth_request") {
			t.Errorf("%s: the question is still there:\n%s", name, text)
		}
	}
}
