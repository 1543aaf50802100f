package docs_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// TestQuickStart runs them on a cluster that has nothing of this project, not even its kinds. The programs are there
// from the beginning, in place of pods: what they need comes with the first command.
func TestQuickStart(t *testing.T) {
	need.Program(t, "curl")
	commands := pages.QuickStart(t)
	cp := install.ControlPlane(t, controlplane.Options{ControllerManager: true})
	i := &installation{cp: cp, verifier: program.FreeAddress(t), folder: t.TempDir()}
	for _, name := range []string{"config", "docs"} {
		if err := os.Symlink(filepath.Join(controlplane.Root(), name), filepath.Join(i.folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	i.run(t, `
		kubectl delete -k config/crd --timeout=5m
		kubectl delete namespace apikey-system --timeout=5m
		test -z "$(kubectl get crds -o name | grep nexuscommerce)"`)
	health := program.FreeAddress(t)
	program.Start(t, program.Build(t, "./cmd/controller"), "--kubeconfig="+install.Kubeconfig(t, cp, "apikey-controller"),
		"--metrics-bind-address=0", "--health-probe-bind-address=0", "--startup-timeout=0", "--self-signed-certificates")
	i.run(t, commands[0])
	certificate := install.Mounted(t, cp, "apikey-verifier-tls") // The kubelet has the pod wait for it.
	program.Start(t, program.Build(t, "./cmd/verifier"), append(certificate,
		"--kubeconfig="+install.Kubeconfig(t, cp, "apikey-verifier"), "--name=verifier-1",
		"--metrics-bind-address=0", "--health-probe-bind-address="+health, "--startup-timeout=0",
		"--http-bind-address="+i.verifier, "--grpc-bind-address="+program.FreeAddress(t))...)
	i.run(t, commands[1])
	program.WaitUntil(t, patience, "a ready verifier", install.AnswersTLS(t, cp, verifierName, health, "/readyz"))
	i.run(t, commands[2])
}
