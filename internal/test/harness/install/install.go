// Package install brings the project onto a real control plane for a test: its manifests, and its programs with the
// rights that these give them.
package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// ControlPlane starts a control plane that lives as long as the test, and applies manifests to it: files of config/, or
// folders, which are kustomizations. The test is skipped where the control plane's programs are missing.
func ControlPlane(t testing.TB, options controlplane.Options, manifests ...string) *controlplane.ControlPlane {
	t.Helper()
	need.ControlPlane(t)
	if options.ControllerManager {
		need.Program(t, "kube-controller-manager")
	}
	cp, err := controlplane.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range manifests {
		path, flag := Config(name), "-f"
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			flag = "-k"
		}
		Kubectl(t, cp, "apply", "--server-side", flag, path)
	}
	return cp
}

// Config is the path of a file or folder in config/.
func Config(path ...string) string {
	return filepath.Join(append([]string{controlplane.Root(), "config"}, path...)...)
}

// Kustomization makes a kustomization of folders of config/ and components of config/components, and returns its path.
// It goes with the test.
func Kustomization(t testing.TB, folders []string, components ...string) string {
	t.Helper()
	folder := t.TempDir()
	config, err := filepath.Rel(folder, Config()) // Kustomize takes no absolute path.
	if err != nil {
		t.Fatal(err)
	}
	var content strings.Builder
	for heading, names := range map[string][]string{"resources": folders, "components": components} {
		content.WriteString(heading + ":\n")
		for _, name := range names {
			if heading == "components" {
				name = filepath.Join("components", name)
			}
			content.WriteString("- " + filepath.Join(config, name) + "\n")
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(content.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

// Kubectl runs kubectl as an administrator, and returns what it prints. It must succeed.
func Kubectl(t testing.TB, cp *controlplane.ControlPlane, args ...string) string {
	t.Helper()
	out, err := cp.RunKubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Kubeconfig returns the path of a kubeconfig with the rights of one of the project's service accounts.
func Kubeconfig(t testing.TB, cp *controlplane.ControlPlane, account string) string {
	t.Helper()
	path, err := cp.ServiceAccountKubeconfig(account)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// StartController starts a controller without leader election. Flags that are given take precedence.
func StartController(t testing.TB, cp *controlplane.ControlPlane, binary string, flags ...string) *program.Process {
	t.Helper()
	return program.Start(t, binary, append([]string{
		"--kubeconfig=" + Kubeconfig(t, cp, "apikey-controller"),
		"--leader-elect=false", "--metrics-bind-address=0", "--health-probe-bind-address=0",
	}, flags...)...)
}
