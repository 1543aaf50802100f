//go:build e2e

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
)

const (
	system = controlplane.SystemNamespace
	// nodeTimeout is the timeout for what takes a node seconds: a busy machine takes longer.
	nodeTimeout = 3 * time.Minute
	// minting is the timeout for a new token. A verifier that ended without signing off counts until it has been silent
	// for its --max-staleness of 5 minutes, and until then new tokens wait for it: docs/runbook.md.
	minting = 5*time.Minute + nodeTimeout
)

// cluster is the cluster that cluster.sh has created. The test runs in its network, and reaches pods and Services.
type cluster struct {
	client.Client

	// documentation has the commands of docs/ that need a node.
	documentation *pages.Runner
	// user is the user that every pod runs under, or 0 for that of its image.
	user int64
}

func connect(t *testing.T) *cluster {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatalf("no cluster (make e2e makes one): %v", err)
	}
	config.QPS = -1
	c, err := client.New(config, client.Options{Scheme: controlplane.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{Client: c, documentation: pages.For(t, pages.E2E)}
}

// run runs a program at the top of the checkout, and returns what it prints. It must succeed.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Dir = controlplane.Root()
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "kubectl", args...)
}

// apply applies a manifest of this folder, with each ${NAME} replaced.
func apply(t *testing.T, name string, replace ...string) {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join(controlplane.Root(), "hack", "suites", "e2e", "manifests", name))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(string(manifest))), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "apply", "--server-side", "-f", file)
}

// rolledOut waits until the pods of Deployments are all of the latest revision, and ready.
func rolledOut(t *testing.T, namespace string, deployments ...string) {
	t.Helper()
	for _, deployment := range deployments {
		kubectl(t, "rollout", "status", "--namespace="+namespace, "deployment/"+deployment, "--timeout="+nodeTimeout.String())
	}
}

// pods returns the pods of a Deployment that are not being deleted.
func (c *cluster) pods(t *testing.T, namespace, deployment string) []corev1.Pod {
	t.Helper()
	var list corev1.PodList
	if err := c.List(t.Context(), &list, client.InNamespace(namespace),
		client.MatchingLabels{"app.kubernetes.io/name": deployment}); err != nil {
		t.Fatal(err)
	}
	var staying []corev1.Pod
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp.IsZero() {
			staying = append(staying, list.Items[i])
		}
	}
	return staying
}

// addressOf returns the address of a Service.
func (c *cluster) addressOf(t *testing.T, namespace, name string) string {
	t.Helper()
	var service corev1.Service
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &service); err != nil {
		t.Fatal(err)
	}
	return service.Spec.ClusterIP
}

// kill ends a pod's process as the kernel does when memory runs out, and returns when the kubelet has restarted it.
func (c *cluster) kill(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	before := pod.Status.ContainerStatuses[0]
	container := strings.TrimPrefix(before.ContainerID, "containerd://")
	run(t, "ctr", "--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", container)
	NewWithT(t).Eventually(func(g Gomega) {
		var now corev1.Pod
		g.Expect(c.Get(t.Context(), client.ObjectKeyFromObject(pod), &now)).To(Succeed())
		g.Expect(now.Status.ContainerStatuses[0].RestartCount).To(BeNumerically(">", before.RestartCount))
		g.Expect(now.Status.ContainerStatuses[0].Ready).To(BeTrue())
	}, nodeTimeout, "200ms").Should(Succeed())
}

// silent returns the verifiers that have a record on the canary, have not signed off, and have no pod any more. Minting
// waits for them.
func (c *cluster) silent(t *testing.T) []string {
	t.Helper()
	var canary keysv1alpha1.ApiKey
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: system, Name: keysv1alpha1.CanaryName}, &canary); err != nil {
		t.Fatal(err)
	}
	pods := c.pods(t, system, "apikey-verifier")
	var names []string
	for annotation, value := range canary.Annotations {
		name, ok := strings.CutPrefix(annotation, keysv1alpha1.ProbeAnnotationPrefix)
		if ok && probe.Alive(value) && !slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return pod.Name == name }) {
			names = append(names, name)
		}
	}
	return names
}

// describe prints the cluster's state, for whoever reads why a step has failed: also which verifiers minting waits for,
// and what each key says about it. Logs hold no tokens, and Secrets aren't shown.
func describe(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"get", "pods", "-A", "-o", "wide"},
		{"get", "apikeys,tenants", "-A", "-o", "wide"},
		{"get", "apikeys", "-A", "-o",
			`jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}: {.status.credentials}{"\n"}` +
				`{range .status.conditions[*]}    {.type}={.status} {.reason} since {.lastTransitionTime}: ` +
				`{.message}{"\n"}{end}{end}`},
		{
			"get", "apikey", "-n", system, keysv1alpha1.CanaryName, "-o",
			`go-template={{range $name, $probe := .metadata.annotations}}{{$name}} {{$probe}}{{"\n"}}{{end}}`,
		},
		{"get", "lease", "-n", system, "apikey-controller", "-o", "jsonpath={.spec}"},
		{"get", "events", "-A", "--sort-by=.lastTimestamp"},
		{"logs", "-n", system, "deploy/apikey-controller", "--tail=20", "--all-pods", "--prefix"},
		{"logs", "-n", system, "deploy/apikey-verifier", "--tail=20", "--all-pods", "--prefix"},
		{"logs", "-n", "gateway", "deploy/gateway", "--tail=20"},
	} {
		out, err := exec.Command("kubectl", args...).CombinedOutput()
		t.Logf("kubectl %s (%v), at %s\n%s", strings.Join(args, " "), err, time.Now().UTC().Format(time.TimeOnly), out)
	}
}
