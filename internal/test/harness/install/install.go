// Package install installs the project on a real control plane for a test: its manifests, and its programs as
// processes, with the rights that the manifests give them.
//
//	i := install.New(t, install.Options{
//		Manifests:  []string{"rbac", "verifier/canary.yaml"},
//		Controller: &install.ControllerOptions{},
//		Verifier:   &install.VerifierOptions{},
//	})
//	key, token := i.NewKey(t)
//	i.Verifier.AwaitAnswer(t, install.Question{Token: token, TenantID: key.Status.TenantID}, http.StatusOK, "")
package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
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

// Config returns the path of a file or folder in config/.
func Config(path ...string) string {
	return filepath.Join(append([]string{controlplane.Root(), "config"}, path...)...)
}

// Kustomization makes a kustomization of folders of config/ and components of config/components, and returns its path.
// It is removed with the test.
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
