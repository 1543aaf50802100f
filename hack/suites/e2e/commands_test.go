//go:build e2e

package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
)

// shell runs a script at the top of the repository, and returns what it prints. It must succeed.
func shell(t *testing.T, script string) string {
	t.Helper()
	return shellIn(t, controlplane.Root(), script)
}

// shellIn runs a script in a folder, like shell.
func shellIn(t *testing.T, folder, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), minting)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-euo", "pipefail")
	command.Dir = folder
	home := t.TempDir() // Helm caches what it has read.
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home,
		"PATH="+filepath.Join(controlplane.Root(), "bin", "tools")+":"+os.Getenv("PATH"))
	command.Stdin = strings.NewReader(script)
	command.WaitDelay = 10 * time.Second // For processes that it has left in the background.
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	if pages.Warns(string(out)) {
		t.Errorf("the API server warns:\n%s", out)
	}
	return string(out)
}

// follow runs the commands in a section of a page that need a node, and returns what they print.
func (c *cluster) follow(t *testing.T, page, section string) string {
	t.Helper()
	return runAll(t, c.documentation.Take(t, page, section))
}

func runAll(t *testing.T, blocks []pages.Block) string {
	t.Helper()
	var out strings.Builder
	for _, b := range blocks {
		out.WriteString(shell(t, b.Text))
	}
	return out.String()
}

// forget removes verifiers that are gone from the canary, as the runbook says, with their names in place of the
// example's.
func (c *cluster) forget(t *testing.T, verifiers []string) {
	t.Helper()
	const example = "apikey-verifier-7d4b9c-x2x7k"
	for _, b := range pages.Read(t, "docs/runbook.md").Blocks {
		if b.Language != "sh" || !strings.Contains(b.Text, example) {
			continue
		}
		for _, name := range verifiers {
			t.Logf("%s is off the canary by hand", name)
			shell(t, strings.ReplaceAll(b.Text, example, name))
		}
		return
	}
	t.Fatal("the runbook does not say how a verifier is taken off the canary")
}

// look runs the commands by which somebody checks how things are.
func (c *cluster) look(t *testing.T) {
	g := NewWithT(t)
	g.Expect(c.follow(t, "docs/alerts.md", "The verifier")).To(ContainSubstring("MinimumReplicasAvailable"))
	g.Expect(c.follow(t, "docs/alerts.md", "All programs")).To(ContainSubstring("Running"))
	g.Expect(c.follow(t, "docs/revocation.md", "How you see it")).To(ContainSubstring("freshAsOf: "))
	g.Expect(c.follow(t, "docs/runbook.md", "The controller is down")).To(ContainSubstring("Running"))
	g.Expect(c.follow(t, "docs/runbook.md", "A verifier is stale")).To(ContainSubstring("Running"))
}

// misconfigure rolls out a version that can't start. Its log says why, read as docs/troubleshooting.md says, and the
// old version keeps answering.
func (c *cluster) misconfigure(t *testing.T) {
	c.underLoad(t, 0, func() {
		kubectl(t, "patch", "deployment", "--namespace="+system, "apikey-verifier", "--type=json",
			`--patch=[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--max-staleness=1s"}]`)
		g := NewWithT(t)
		g.Eventually(func() bool {
			for _, pod := range c.pods(t, system, "apikey-verifier") {
				for _, status := range pod.Status.ContainerStatuses {
					if status.LastTerminationState.Terminated != nil && status.LastTerminationState.Terminated.ExitCode != 0 &&
						!status.Ready {
						return true
					}
				}
			}
			return false
		}, nodeTimeout, "200ms").Should(BeTrue(), "a verifier that has ended")
		// The kubelet may not find the log of a container that has just been replaced; it finds that of the next one.
		commands := c.documentation.Take(t, "docs/troubleshooting.md", "Programs that do not start")
		g.Eventually(func() string {
			return runAll(t, commands)
		}, nodeTimeout, "500ms").Should(ContainSubstring("--max-staleness"))
		g.Expect(kubectl(t, "describe", "pods",
			"--namespace="+system)).To(MatchRegexp(`Message: +apikey-verifier: --max-staleness`))
		kubectl(t, "rollout", "undo", "--namespace="+system, "deployment/apikey-verifier")
		rolledOut(t, system, "apikey-verifier")
	})
}

// restart restarts both Deployments.
func (c *cluster) restart(t *testing.T) {
	c.underLoad(t, 0, func() {
		c.follow(t, "docs/restore.md", "After a snapshot of etcd")
		c.follow(t, "docs/runbook.md", "The root key is lost")
		rolledOut(t, system, "apikey-controller", "apikey-verifier")
	})
}

// release installs a release on a cluster that has nothing of this project left: the manifests, then the chart, from a
// folder and from an archive. With the last one, a request is verified.
func (c *cluster) release(t *testing.T) {
	run(t, "ctr", "--namespace=k8s.io", "images", "tag", "docker.io/library/apikey-operator:dev",
		"registry.example.com/apikey-operator:v1.2.3")
	c.follow(t, "docs/components.md", "What a release has")
	rolledOut(t, system, "apikey-controller", "apikey-verifier")
	kubectl(t, "delete", "-f", "dist/install.yaml", "--ignore-not-found", "--timeout=5m")

	withoutChart := "helm uninstall apikey-operator --namespace apikey-system --wait\n" +
		"kubectl delete -f dist/crds.yaml --timeout=5m\nkubectl delete namespace apikey-system --timeout=5m"
	c.follow(t, "docs/components.md", "Helm")
	rolledOut(t, system, "apikey-controller", "apikey-verifier")
	shell(t, withoutChart)

	c.follow(t, "docs/install.md", "Helm")
	commands := pages.QuickStart(t)
	shell(t, commands[1])
	NewWithT(t).Expect(shell(t, commands[2])).To(accepted)
	shell(t, withoutChart)
	c.documentation.Done(t)
}
