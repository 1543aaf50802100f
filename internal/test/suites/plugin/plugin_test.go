// Package plugin_test runs kubectl apikey as a person does, against a real API server with the controller and a
// verifier beside it.
//
// Its tests are the scripts in testdata, which read like sessions at a terminal: what is typed, and what is printed.
// They are testscript's (github.com/rogpeppe/go-internal/testscript) with the commands that commands lists, such as
// these:
//
//	kubectl apikey suspend storefront
//	stdout 'suspended'
//	! kubectl apikey explain storefront GET /api/products
//	code 3
//	stdout 'refused \(401 suspended\)'
//
// All share one control plane. Each script has a namespace of its own, which its kubeconfig names, and a tenant of the
// same name: both are called after the script, as suspend-shop is after suspend.txtar. The namespaces of config/samples
// are there too, and no script changes keys in them. A single script is run by its name:
//
//	go test ./internal/test/suites/plugin -run 'TestScripts/^suspend$' -v
package plugin_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// timeout bounds how long a test waits for something that has to come.
const timeout = time.Minute

// cluster is an installation with the samples, the controller and a verifier.
type cluster struct {
	*install.Installation

	// plugin is the path of the program, and path a folder with kubectl, the plugin, and its completion, by the names
	// that kubectl looks for.
	plugin, path string
	// users guards the control plane's authority, which signs for one user at a time.
	users sync.Mutex
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{path: t.TempDir(), Installation: install.New(t, install.Options{
		Manifests:  []string{"rbac", "policy", "verifier/canary.yaml"},
		Controller: &install.ControllerOptions{}, Verifier: &install.VerifierOptions{},
	})}
	c.plugin = c.Binary("./cmd/kubectl-apikey")
	for name, target := range map[string]string{
		"kubectl": c.Kubectl, "kubectl-apikey": c.plugin, "kubectl_complete-apikey": c.plugin,
	} {
		if err := os.Symlink(target, filepath.Join(c.path, name)); err != nil {
			t.Fatal(err)
		}
	}
	install.Kubectl(t, c.ControlPlane, "apply", "-k", install.Config("samples"))
	for _, namespace := range []string{"warehouse", "sandbox"} {
		install.Kubectl(t, c.ControlPlane, "wait", "--for=condition=Ready", "apikey", "--all", "-n", namespace,
			"--timeout="+timeout.String())
	}
	return c
}

// newTenant creates a tenant and a namespace of the same name, which belongs to it.
func (c *cluster) newTenant(ctx context.Context, name string) error {
	for _, object := range []client.Object{fixture.Tenant(name), fixture.Namespace(name, name)} {
		if err := c.Client.Create(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

// kubeconfig writes a kubeconfig for a user in the given groups, whose default namespace is the given one.
func (c *cluster) kubeconfig(path, namespace, user string, groups ...string) error {
	c.users.Lock()
	defer c.users.Unlock()
	original, err := c.KubeconfigFor(user, groups...)
	if err != nil {
		return err
	}
	config, err := clientcmd.LoadFromFile(original)
	if err != nil {
		return err
	}
	for _, entry := range config.Contexts {
		entry.Namespace = namespace
	}
	return clientcmd.WriteToFile(*config, path)
}

// shared is the cluster of all tests that don't break theirs.
var shared struct {
	sync.Mutex
	cluster *cluster
	run     *testRun
}

// sharedCluster returns the cluster that tests share. The first that asks for it starts it.
func sharedCluster(t *testing.T) *cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil {
		shared.run = &testRun{TB: t}
		shared.cluster = newCluster(shared.run)
	}
	return shared.cluster
}

// testRun is a testing.TB for what several tests use. Its clean-up functions are called when all tests have ended.
type testRun struct {
	testing.TB
	cleanups []func()
	failed   bool
}

// Cleanup registers a function that is called when all tests have ended.
func (r *testRun) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

// Context returns a context that outlives the test.
func (*testRun) Context() context.Context { return context.Background() }

// TempDir returns a folder that is there until all tests have ended.
func (r *testRun) TempDir() string {
	folder, err := os.MkdirTemp("", "plugin-test-")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// Error prints what went wrong: the test that started the cluster may have ended.
func (r *testRun) Error(args ...any) {
	r.failed = true
	fmt.Fprintln(os.Stderr, args...)
}

// Logf prints a message: a test that has ended can't log any more, and panics.
func (*testRun) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// end cleans up.
func (r *testRun) end() {
	for _, cleanup := range slices.Backward(r.cleanups) {
		cleanup()
	}
}

// TestMain ends what the tests have shared.
func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code := m.Run()
	if shared.run != nil {
		shared.run.end()
		if shared.run.failed && code == 0 {
			code = 1
		}
	}
	os.Exit(code)
}
