//go:build e2e

package e2e_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// anyUser is the environment variable that has every pod run under a random user, as OpenShift does.
const anyUser = "E2E_ANY_USER"

// chooseUser has the API server give a random user to every pod from now on, if that is asked for.
func (c *cluster) chooseUser(t *testing.T) {
	t.Helper()
	if os.Getenv(anyUser) == "" {
		return
	}
	const lowest, span = 1_000_000_000, 1_000_000_000 // OpenShift's ranges begin there.
	c.user = lowest + rand.Int64N(span)
	t.Logf("every pod runs as user %d", c.user)
	apply(t, "anyuser.yaml", "${USER}", strconv.FormatInt(c.user, 10))
	// A policy is in effect a moment after it was written.
	NewWithT(t).Eventually(func() string {
		return kubectl(t, "run", "any-user", "--image=e2e:dev", "--dry-run=server",
			"--output=jsonpath={.spec.securityContext.runAsUser}")
	}, nodeTimeout, "200ms").Should(Equal(strconv.FormatInt(c.user, 10)))
}

// checkUsers checks that every pod runs under the user that was chosen: as the API server has it, and as the kernel
// does.
func (c *cluster) checkUsers(t *testing.T) {
	t.Helper()
	if c.user == 0 {
		return
	}
	g := NewWithT(t)
	want := strconv.FormatInt(c.user, 10)
	users := strings.Fields(kubectl(t, "get", "pods", "-A",
		"--output=jsonpath={.items[*].spec.securityContext.runAsUser}"))
	pods := strings.Fields(kubectl(t, "get", "pods", "-A", "--output=name"))
	g.Expect(users).To(HaveLen(len(pods)))
	g.Expect(users).To(HaveEach(want))
	for _, deployment := range []string{"apikey-controller", "apikey-verifier"} {
		for _, pod := range c.pods(t, system, deployment) {
			container := strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "containerd://")
			g.Expect(userOf(t, container)).To(Equal(want), pod.Name)
		}
	}
}

// userOf returns the user of a container's first process.
func userOf(t *testing.T, container string) string {
	t.Helper()
	for line := range strings.Lines(run(t, "ctr", "--namespace=k8s.io", "tasks", "list")) {
		fields := strings.Fields(line) // its ID, the process and its state
		if len(fields) < 2 || fields[0] != container {
			continue
		}
		status, err := os.ReadFile("/proc/" + fields[1] + "/status")
		if err != nil {
			t.Fatal(err)
		}
		for entry := range strings.Lines(string(status)) {
			if users, ok := strings.CutPrefix(entry, "Uid:"); ok {
				return strings.Fields(users)[0]
			}
		}
	}
	t.Fatalf("container %s does not run", container)
	return ""
}
