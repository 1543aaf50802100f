package guides_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// TestHAProxyIngressSnippets checks with HAProxy itself what an Ingress adds to a backend.
func TestHAProxyIngressSnippets(t *testing.T) {
	haproxy := need.Program(t, "haproxy")
	run := read(t, guide("haproxy-ingress", "haproxy.cfg"))
	all := annotations(t, "haproxy-ingress.github.io/", "haproxy-ingress", "ingress.yaml")
	config := "defaults\n\tmode http\n\ttimeout connect 1s\n\ttimeout client 1s\n\ttimeout server 1s\n" +
		"frontend f\n\tbind 127.0.0.1:1\n\tdefault_backend b\nbackend b\n"
	for _, name := range []string{"config-backend-early", "config-backend-late"} {
		if all[name] == "" {
			t.Errorf("no %s", name)
		}
		for line := range strings.Lines(all[name]) {
			config += "\t" + line
			// The method is written differently there.
			if name == "config-backend-early" && !strings.Contains(line, "{ method ") && !strings.Contains(run, "\t"+line) {
				t.Errorf("haproxy.cfg, which internal/test/suites/bypass runs, lacks %q", line)
			}
		}
	}
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), haproxy, "-c", "-f", path).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, config)
	}
}
