package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// TestTheDemoRunsTheGuide checks that the demo's configuration differs from the guide's only in addresses.
func TestTheDemoRunsTheGuide(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(controlplane.Root(), "docs", "guides", "caddy", "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	guide := strings.Split(string(content), "\n")
	text, err := moved(string(content), "127.0.0.1:8000", "127.0.0.1:8081", "127.0.0.1:8082", "/tmp/ca.crt")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.Split(text, "\n")
	if len(config) != len(guide) {
		t.Fatalf("%d lines, the guide's has %d", len(config), len(guide))
	}
	changed := 0
	for i, line := range config {
		if line == guide[i] {
			continue
		}
		changed++
		if !strings.Contains(line, ":8000 {") && !strings.Contains(line, "127.0.0.1:808") &&
			!strings.Contains(line, " /tmp/ca.crt") {
			t.Errorf("%q instead of %q", line, guide[i])
		}
	}
	if changed != 5 {
		t.Errorf("%d lines with addresses", changed)
	}
	if _, err := moved(strings.ReplaceAll(string(content), "api.warehouse", "elsewhere"), "127.0.0.1:8000", "", "",
		""); err == nil {
		t.Error("a guide with other addresses is taken")
	}
}
