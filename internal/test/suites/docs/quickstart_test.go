package docs_test

import (
	"strings"
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

// TestReleasesAreReplaced checks that no command that this suite runs is left with a file of a release, which is on the
// internet: what it runs instead is the folder that the file is made from.
func TestReleasesAreReplaced(t *testing.T) {
	if first := pages.QuickStart(t)[0]; !strings.Contains(first, "kubectl apply --server-side -k config/default;") {
		t.Errorf("the quick start begins with %q", first)
	}
	replaced := 0
	for _, p := range pages.Run(t) {
		for _, b := range p.Blocks {
			if b.Language != "sh" || !mine(b) || !strings.Contains(b.Text, "/releases/download/") {
				continue
			}
			replaced++
			text := pages.FromCheckout(b.Text)
			if strings.Contains(text, "https://github.com/") || !strings.Contains(text, "-k config/") {
				t.Errorf("%s: %s", b, text)
			}
		}
	}
	if replaced < 4 {
		t.Errorf("only %d blocks name a release", replaced)
	}
}
