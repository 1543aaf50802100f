// Package plugin_test runs kubectl apikey as a person does, against a real API server with the controller and a verifier
// beside it, and looks at what it prints, how it ends, and what it leaves behind.
package plugin_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const patience = time.Minute

// installation is a control plane with the samples, the controller and a verifier, and the plugin of a user.
type installation struct {
	cp         *controlplane.ControlPlane
	controller *program.Process
	verifier   *program.Process
	plugin     string
	// folder is where commands run.
	folder string
	// printed is all that the commands have printed, but for what was kept out of it.
	printed strings.Builder
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	cp := install.ControlPlane(t, controlplane.Options{}, "rbac", "policy", "verifier/canary.yaml")
	i := &installation{cp: cp, folder: t.TempDir(), plugin: program.Build(t, "./cmd/kubectl-apikey")}
	i.controller = install.Controller(t, cp, program.Build(t, "./cmd/controller"))
	health := program.FreeAddress(t)
	i.verifier = program.Start(t, program.Build(t, "./cmd/verifier"),
		"--kubeconfig="+install.Kubeconfig(t, cp, "apikey-verifier"), "--name=verifier-1",
		"--metrics-bind-address=0", "--health-probe-bind-address="+health,
		"--http-bind-address="+program.FreeAddress(t), "--grpc-bind-address="+program.FreeAddress(t), "--insecure-plain-text")
	program.WaitUntil(t, patience, "a ready verifier", program.Answers(t.Context(), "http://"+health+"/readyz"))
	install.Kubectl(t, cp, "apply", "-k", install.Config("samples"))
	i.await(t, "warehouse", "warehouse-integration", keysv1alpha1.ConditionReady)
	i.await(t, "warehouse", "storefront", keysv1alpha1.ConditionReady)
	return i
}

// await waits until a condition of a key is True.
func (i *installation) await(t *testing.T, namespace, name, condition string) *keysv1alpha1.ApiKey {
	t.Helper()
	return install.Await(t, i.cp, client.ObjectKey{Namespace: namespace, Name: name}, condition, patience)
}

// outcome is how a command has ended.
type outcome struct {
	stdout, stderr string
	code           int
}

// invocation is a command that is about to be run.
type invocation struct {
	kubeconfig, stdin string
	// secret is for a command that is to print a token: what it prints is not looked through.
	secret bool
	args   []string
}

// as has a command run with another user's rights.
func as(kubeconfig string, args ...string) invocation {
	return invocation{kubeconfig: kubeconfig, args: args}
}

// run runs the plugin. It may end in whatever way.
func (i *installation) run(t *testing.T, in invocation) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	command := exec.CommandContext(ctx, i.plugin, in.args...)
	command.Dir = i.folder
	if in.kubeconfig == "" {
		in.kubeconfig = i.cp.Kubeconfig
	}
	command.Env = append(os.Environ(), "KUBECONFIG="+in.kubeconfig, "HOME="+i.folder)
	command.Stdin = strings.NewReader(in.stdin)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("kubectl apikey %v: %v", in.args, err)
	}
	if !in.secret {
		i.printed.Write(stdout.Bytes())
	}
	i.printed.Write(stderr.Bytes())
	return outcome{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

// must runs the plugin as an administrator, and has it end well. It returns standard output.
func (i *installation) must(t *testing.T, args ...string) string {
	t.Helper()
	got := i.run(t, invocation{args: args})
	if got.code != 0 {
		t.Fatalf("kubectl apikey %s: exit code %d\n%s%s", strings.Join(args, " "), got.code, got.stdout, got.stderr)
	}
	return got.stdout
}

// fails runs the plugin as an administrator, and has it end with an exit code and say all of some things.
func (i *installation) fails(t *testing.T, code int, said []string, args ...string) outcome {
	t.Helper()
	got := i.run(t, invocation{args: args})
	i.check(t, args, got, code, said)
	return got
}

func (i *installation) check(t *testing.T, args []string, got outcome, code int, said []string) {
	t.Helper()
	if got.code != code {
		t.Errorf("kubectl apikey %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got.code, code, got.stdout, got.stderr)
	}
	contains(t, got.stdout+got.stderr, said...)
}

// contains says which texts are not in another.
func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

// key reads a key.
func (i *installation) key(t *testing.T, namespace, name string) *keysv1alpha1.ApiKey {
	t.Helper()
	key := &keysv1alpha1.ApiKey{}
	if err := i.cp.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, key); err != nil {
		t.Fatal(err)
	}
	return key
}

// token reads the token of a key.
func (i *installation) token(t *testing.T, namespace, secret string) string {
	t.Helper()
	return install.Kubectl(t, i.cp, "get", "secret", "-n", namespace, secret, "-o", "go-template={{.data.token|base64decode}}")
}

// read reads a file that a command has written, and its mode.
func (i *installation) read(t *testing.T, name string) (content string, mode os.FileMode) {
	t.Helper()
	path := filepath.Join(i.folder, name)
	bytes, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes), info.Mode().Perm()
}
