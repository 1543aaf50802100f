//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
)

const (
	gateway = "http://10.96.0.80" // manifests/gateway.yaml
	host    = "your-nexuscommerce.com"
)

// accepted matches the first line of a response that accepts, of any version of HTTP, as curl prints it.
var accepted = MatchRegexp(`(?m)^HTTP/[0-9.]+ 200\b`)

// TestNode is one story: each step starts where the one before it ended.
func TestNode(t *testing.T) {
	c := connect(t)
	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"install", c.install},
		{"somebody opens the settings page", c.openPage},
		{"a workload calls the API with the key that it mounts", c.call},
		{"a verifier is killed", c.killVerifier},
		{"a verifier's pod is deleted at once", c.deleteVerifier},
		{"all Deployments are upgraded", c.upgrade},
		{"a key is rotated", c.rotate},
		{"somebody looks how things are", c.look},
		{"a version that can't start", c.misconfigure},
		{"both Deployments are restarted", c.restart},
		{"the leading controller's pod is deleted", c.deleteLeader},
		{"the leading controller is killed", c.killLeader},
		{"a namespace is deleted", c.deleteNamespace},
		{"a key is revoked", c.revoke},
		{"TLS is switched off", c.switchTLSOff},
		{"uninstall", c.uninstall},
		{"a release's manifests and chart", c.release},
	} {
		started := time.Now()
		if !t.Run(step.name, step.do) {
			describe(t)
			t.FailNow()
		}
		fmt.Printf("e2e: %s: ok after %.0f s\n", step.name, time.Since(started).Seconds())
	}
}

// install runs the README's three commands, on a cluster without anything of this project. The last one verifies a
// request.
func (c *cluster) install(t *testing.T) {
	g := NewWithT(t)
	c.chooseUser(t)
	commands := pages.QuickStart(t)
	shell(t, commands[0])
	shell(t, commands[1])
	g.Expect(shell(t, commands[2])).To(accepted)
	c.follow(t, "docs/install.md", "")
	c.follow(t, "docs/quickstart.md", "The operator")

	var namespace corev1.Namespace
	g.Expect(c.Get(t.Context(), client.ObjectKey{Name: system}, &namespace)).To(Succeed())
	g.Expect(namespace.Labels).To(HaveKeyWithValue("pod-security.kubernetes.io/enforce", "restricted"))
	for _, deployment := range []string{"apikey-controller", "apikey-verifier"} {
		for _, pod := range c.pods(t, system, deployment) {
			g.Expect(pod.Status.ContainerStatuses[0].RestartCount).To(BeZero(), pod.Name)
		}
	}
	c.checkUsers(t)
}

func (c *cluster) call(t *testing.T) {
	kubectl(t, "label", "namespace", "warehouse", "pod-security.kubernetes.io/enforce=restricted")

	verifier := c.addressOf(t, system, "apikey-verifier")
	apply(t, "gateway.yaml", "${VERIFIER}", verifier)
	authority := c.authority(t) // As docs/guides/README.md says, copied to where a proxy looks for it.
	kubectl(t, "create", "configmap", "caddy", "--namespace=gateway", "--from-file=docs/guides/caddy/Caddyfile",
		"--from-file=apikey-ca.crt="+authority)
	rolledOut(t, "gateway", "api", "gateway")
	// The Service answers once kube-proxy knows the pod, which may be later than kubectl does.
	NewWithT(t).Eventually(func() (int, error) { return get(t, "/api/products", "", "") }, nodeTimeout, "200ms").
		Should(Equal(http.StatusUnauthorized))

	kubectl(t, "create", "configmap", "authority", "--namespace=warehouse", "--from-file=ca.crt="+authority)
	apply(t, "client.yaml", "${VERIFIER}", verifier)
	rolledOut(t, "warehouse", "client", "impatient")
	c.checkUsers(t)
	c.underLoad(t, 0, func() {})
}

// killVerifier checks that a killed verifier costs the requests that it was answering, and no others.
func (c *cluster) killVerifier(t *testing.T) {
	c.underLoad(t, workers, func() {
		c.kill(t, &c.pods(t, system, "apikey-verifier")[0])
	})
}

// deleteVerifier deletes a pod without the time to sign off. Its record on the canary is removed, or the steps that
// mint a token would take 5 minutes longer.
func (c *cluster) deleteVerifier(t *testing.T) {
	c.underLoad(t, workers, func() {
		pod := c.pods(t, system, "apikey-verifier")[0]
		kubectl(t, "delete", "pod", "--namespace="+system, "--grace-period=0", "--force", pod.Name)
		rolledOut(t, system, "apikey-verifier")
		container := strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "containerd://")
		NewWithT(t).Eventually(func() string {
			return run(t, "ctr", "--namespace=k8s.io", "tasks", "list", "--quiet")
		}, nodeTimeout, "200ms").
			ShouldNot(ContainSubstring(container))
		c.forget(t, c.silent(t))
	})
}

// upgrade checks that an upgrade refuses no valid request. The new version is the old one under another name.
func (c *cluster) upgrade(t *testing.T) {
	run(t, "ctr", "--namespace=k8s.io", "images", "tag", "docker.io/library/apikey-operator:dev",
		"docker.io/library/apikey-operator:next")
	c.underLoad(t, 0, func() {
		kubectl(t, "set", "image", "--namespace="+system, "deployment/apikey-controller", "controller=apikey-operator:next")
		kubectl(t, "set", "image", "--namespace="+system, "deployment/apikey-verifier", "verifier=apikey-operator:next")
		kubectl(t, "set", "image", "--namespace="+system, "deployment/apikey-console", "console=apikey-operator:next")
		c.follow(t, "docs/upgrade.md", "")
		// The old pods are no longer counted, but still answer requests.
		NewWithT(t).Eventually(func() []string {
			out := kubectl(t, "get", "pods", "--namespace="+system, "--output=jsonpath={.items[*].spec.containers[0].image}")
			return slices.Compact(strings.Fields(out))
		}, nodeTimeout, "500ms").Should(Equal([]string{"apikey-operator:next"}))
	})
}

// rotate checks that a rotation brings the new token to the mounted file while the old one still works. A workload that
// has the token in its environment is restarted.
func (c *cluster) rotate(t *testing.T) {
	before := c.tally(t)
	c.passes(t, 1)
	old := lastID(t, before, c.tally(t))
	apply(t, "environment.yaml")
	rolledOut(t, "warehouse", "storefront")
	c.underLoad(t, 0, func() {
		t.Logf("verifiers on the canary without a pod: %v", c.silent(t))
		kubectl(t, "annotate", "apikey", "--namespace=warehouse", "storefront", "keys.nexuscommerce.io/rotateAt=now")
		kubectl(t, "wait", "--for=jsonpath={.status.credentials[0].validUntil}", "apikey", "--namespace=warehouse",
			"storefront", "--timeout="+minting.String())
		c.follow(t, "docs/runbook.md", "Rotate a key")
		rolledOut(t, "warehouse", "storefront")
		NewWithT(t).Eventually(func() map[string]int {
			return c.tally(t).KeyIDs
		}, minting, "500ms").Should(HaveLen(len(before.KeyIDs) + 1))
	})
	before = c.tally(t)
	c.passes(t, 100)
	if now := lastID(t, before, c.tally(t)); now == old {
		t.Errorf("the workload still uses the old token, %s", old)
	}
	kubectl(t, "delete", "deployment", "--namespace=warehouse", "storefront", "--wait")
}

// leader returns the holder of the controllers' lease: a pod's name, an underscore, and an identifier of the process.
func (c *cluster) leader(t *testing.T) string {
	t.Helper()
	var lease coordinationv1.Lease
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: system, Name: "apikey-controller"}, &lease); err != nil {
		t.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// handsOver ends the leader, and waits until another one leads and mints a key.
func (c *cluster) handsOver(t *testing.T, key string, end func(*corev1.Pod)) {
	c.underLoad(t, 0, func() {
		g := NewWithT(t)
		old := c.leader(t)
		name, _, _ := strings.Cut(old, "_")
		var pod corev1.Pod
		g.Expect(c.Get(t.Context(), client.ObjectKey{Namespace: system, Name: name}, &pod)).To(Succeed())
		started := time.Now()
		end(&pod)
		g.Eventually(func() string { return c.leader(t) }, nodeTimeout, "50ms").ShouldNot(Or(Equal(old), BeEmpty()))
		t.Logf("another controller leads after %s", time.Since(started).Round(10*time.Millisecond))

		minted := &keysv1alpha1.ApiKey{Spec: keysv1alpha1.ApiKeySpec{Scopes: []keysv1alpha1.Scope{"products:read"}}}
		minted.Namespace, minted.Name = "warehouse", key
		g.Expect(c.Create(t.Context(), minted)).To(Succeed())
		kubectl(t, "wait", "--for=condition=Ready", "--namespace=warehouse", "apikey/"+key, "--timeout="+minting.String())
		rolledOut(t, system, "apikey-controller")
	})
}

func (c *cluster) deleteLeader(t *testing.T) {
	c.handsOver(t, "after-deletion", func(pod *corev1.Pod) { _ = c.Delete(t.Context(), pod) })
}

func (c *cluster) killLeader(t *testing.T) {
	c.handsOver(t, "after-crash", func(pod *corev1.Pod) { c.kill(t, pod) })
}

// deleteNamespace checks that deleting a namespace ends its keys and no others.
func (c *cluster) deleteNamespace(t *testing.T) {
	g := NewWithT(t)
	var secret corev1.Secret
	g.Expect(c.Get(t.Context(), client.ObjectKey{Namespace: "sandbox", Name: "nightly-analytics-token"},
		&secret)).To(Succeed())
	token, tenant := string(secret.Data["token"]), "b1f0a2c4-5d6e-4f70-8a9b-0c1d2e3f4a5b"
	g.Expect(get(t, "/api/orders", token, tenant)).To(Equal(http.StatusOK))
	c.underLoad(t, 0, func() {
		kubectl(t, "delete", "namespace", "sandbox", "--timeout="+nodeTimeout.String())
		g.Expect(get(t, "/api/orders", token, tenant)).To(Equal(http.StatusUnauthorized))
	})
}

// revoke revokes the workload's key: once the revocation is reported as effective, no further request is allowed.
func (c *cluster) revoke(t *testing.T) {
	kubectl(t, "patch", "apikey", "--namespace=warehouse", "storefront", "--type=merge", "--patch",
		`{"spec":{"state":"Revoked"}}`)
	kubectl(t, "wait", "--for=condition=RevocationEffective", "--namespace=warehouse", "apikey/storefront",
		"--timeout="+nodeTimeout.String())
	g := NewWithT(t)
	// A response that was decided before may still be on its way to the client: one for each worker.
	before := c.tally(t)
	g.Eventually(func() int { return c.tally(t).Answers[http.StatusUnauthorized] }, nodeTimeout, "200ms").
		Should(BeNumerically(">=", before.Answers[http.StatusUnauthorized]+100))
	after := c.tally(t)
	g.Expect(after.Answers[http.StatusOK]-before.Answers[http.StatusOK]).To(BeNumerically("<=", workers),
		"requests accepted after the revocation")
}

// authority returns the path of a file with the certificates that clients trust.
func (c *cluster) authority(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.crt")
	content := kubectl(t, "get", "configmap", "--namespace="+system, "apikey-ca",
		`--output=go-template={{index .data "ca.crt"}}`)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// switchTLSOff makes the verifier answer in plain text, which is optional. Its probes then use plain text too, or it
// would not get ready.
func (c *cluster) switchTLSOff(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "config"),
		os.DirFS(filepath.Join(controlplane.Root(), "config"))); err != nil {
		t.Fatal(err)
	}
	shellIn(t, folder,
		"printf 'resources: [config/default]\ncomponents: [config/components/plain-text]\n' >kustomization.yaml\n"+
			"kubectl apply --server-side --force-conflicts -k .")
	rolledOut(t, system, "apikey-verifier")
}

// uninstall checks that exactly what docs/runbook.md says is left: the workloads, without their Secrets. The settings
// page, which is not part of config/default, is deleted with its namespace.
func (c *cluster) uninstall(t *testing.T) {
	rolledOut(t, system, "apikey-console")
	kubectl(t, "delete", "-k", "config/default", "--ignore-not-found", "--timeout=5m")
	g := NewWithT(t)
	g.Eventually(func(g Gomega) {
		kinds := slices.DeleteFunc(strings.Fields(kubectl(t, "api-resources", "--verbs=list", "--output=name")),
			func(kind string) bool {
				return kind == "events" || kind == "events.events.k8s.io" // They expire after an hour.
			})
		g.Expect(kinds).To(ContainElements("secrets", "clusterroles.rbac.authorization.k8s.io",
			"customresourcedefinitions.apiextensions.k8s.io"))
		left := kubectl(t, "get", strings.Join(kinds, ","), "-A", "--output=name", "--ignore-not-found")
		g.Expect(left).To(ContainSubstring("client")) // The workloads.
		for name := range strings.FieldsSeq(left) {
			g.Expect(name).NotTo(Or(ContainSubstring("apikey"), ContainSubstring("nexuscommerce"),
				ContainSubstring("storefront")))
		}
	}, nodeTimeout, "1s").Should(Succeed())
	var namespace corev1.Namespace
	g.Expect(c.Get(t.Context(), client.ObjectKey{Name: system}, &namespace)).To(MatchError(apierrors.IsNotFound,
		"not found"))
	g.Expect(c.pods(t, "warehouse", "client")).To(HaveLen(1))
}

// get calls the API as a client outside the cluster would, and returns the status.
func get(t *testing.T, path, token, tenant string) (int, error) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, gateway+path, http.NoBody)
	if err != nil {
		return 0, err
	}
	request.Host = host
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("X-Tenant-ID", tenant)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}
