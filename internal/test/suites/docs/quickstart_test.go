package docs_test

import (
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// TestQuickStart runs the quick start's commands on a cluster that has nothing of this project, not even its kinds. The
// programs run from the beginning, in place of pods; the first command brings what they need.
func TestQuickStart(t *testing.T) {
	need.Program(t, "curl")
	commands := pages.QuickStart(t)
	r := newReader(t)
	r.run(t, `
		kubectl delete -k config/crd --timeout=5m
		kubectl delete namespace apikey-system --timeout=5m
		test -z "$(kubectl get crds -o name | grep nexuscommerce)"`)
	r.StartController(t, install.ControllerOptions{
		LeaderElection: true, Flags: []string{"--startup-timeout=0", "--self-signed-certificates"},
	})
	r.run(t, commands[0])
	// The kubelet, too, waits for the certificate before it starts the pod.
	verifier := r.StartVerifier(t, install.VerifierOptions{
		Addresses: install.Addresses{HTTP: r.verifier},
		TLS:       install.MountedTLS(t, r.ControlPlane, "apikey-verifier-tls", verifierName),
		Flags:     []string{"--startup-timeout=0"}, NoWait: true,
	})
	r.run(t, commands[1])
	program.WaitUntil(t, timeout, "a ready verifier", verifier.Ready(t))
	r.run(t, commands[2])
}
