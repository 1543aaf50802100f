package plugin_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/apiproxy"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// TestAnAnswerIsLost makes a token locally while a proxy passes the request on and drops the answer: the key is there,
// and its token too. Where the API server refuses, the file goes.
func TestAnAnswerIsLost(t *testing.T) {
	g, c := NewWithT(t), sharedCluster(t)
	const namespace = "lost-shop"
	g.Expect(c.newTenant(t.Context(), namespace)).To(Succeed())
	lossy := apiproxy.New(t, c.Config, func(*http.Request) apiproxy.Interference {
		return apiproxy.Interference{After: func() { panic(http.ErrAbortHandler) }} // Ends the connection.
	}).Kubeconfig(t)
	create := func(kubeconfig, name, file string) (string, error) {
		command := exec.CommandContext(t.Context(), c.plugin, "create", name, "--local", "--scopes=products:read",
			"--namespace="+namespace, "--token-file="+file, "--kubeconfig="+kubeconfig)
		out, err := command.CombinedOutput()
		return string(out), err
	}
	file := filepath.Join(t.TempDir(), "token")
	out, err := create(lossy, "x", file)
	g.Expect(err).To(HaveOccurred())
	g.Expect(out).To(And(ContainSubstring("is not known"), ContainSubstring(file)))
	content, err := os.ReadFile(file)
	g.Expect(err).NotTo(HaveOccurred(), out)
	key := fixture.ApiKey(namespace, "x")
	c.Await(t, key, keysv1alpha1.ConditionReady)
	digest := token.DigestOf(strings.TrimSpace(string(content)))
	g.Expect(key.Spec.Digest.SHA256).To(ContainSubstring(strings.TrimPrefix(digest.String(), "sha256:")))

	refused := filepath.Join(t.TempDir(), "token")
	out, err = create(c.Kubeconfig, "x", refused)
	g.Expect(err).To(HaveOccurred())
	g.Expect(out).To(ContainSubstring("asks for something else"))
	g.Expect(refused).NotTo(BeAnExistingFile())
}
