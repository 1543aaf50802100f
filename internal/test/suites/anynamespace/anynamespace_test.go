// Package anynamespace_test installs the project in a namespace of another name, by an overlay with that one setting,
// and checks that it works there, and that a cluster refuses a second installation.
package anynamespace_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// overlay returns the path of a kustomization of config/default and some components, with a namespace.
func overlay(t *testing.T, namespace string, components ...string) string {
	t.Helper()
	folder := install.Kustomization(t, []string{"default"}, components...)
	path := filepath.Join(folder, "kustomization.yaml")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(content, "namespace: "+namespace+"\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

// everyComponent returns the components of config/components. One is not for such an overlay: its RoleBindings are in
// several namespaces, as its own comment says.
func everyComponent(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*", "*/*"} {
		paths, err := filepath.Glob(install.Config("components", pattern, "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			name, err := filepath.Rel(install.Config("components"), filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			if name != "namespaces" {
				all = append(all, name)
			}
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d components: %v", len(all), all)
	}
	return all
}

// TestNothingNamesTheDefault checks that no object of an overlay with another namespace names apikey-system.
func TestNothingNamesTheDefault(t *testing.T) {
	need.ControlPlane(t)
	cp := &controlplane.ControlPlane{Kubectl: filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl")}
	sets := [][]string{nil, {"monitoring", "console", "cert-manager"}}
	for _, component := range everyComponent(t) {
		sets = append(sets, []string{component})
	}
	for _, components := range sets {
		t.Run(strings.Join(components, ","), func(t *testing.T) {
			out := install.Kubectl(t, cp, "kustomize", overlay(t, "team-x", components...))
			if n := strings.Count(out, controlplane.SystemNamespace); n > 0 {
				t.Errorf("%d occurrences of %s", n, controlplane.SystemNamespace)
			}
			if strings.Count(out, "namespace: team-x") < 10 || strings.Contains(out, "_NAMESPACE).svc") {
				t.Error("the namespace is not where it should be")
			}
		})
	}
}

// in returns a kubeconfig and flags for a program that runs as an account of a namespace.
func in(t *testing.T, cp *controlplane.ControlPlane, namespace, account string) (kubeconfig string, flags []string) {
	t.Helper()
	kubeconfig, err := cp.ServiceAccountKubeconfigIn(namespace, account)
	if err != nil {
		t.Fatal(err)
	}
	return kubeconfig, []string{"--namespace=" + namespace}
}

// TestMintsAndRevokes installs the project in another namespace by kubectl, mints a key, calls with it, revokes it.
// Then it installs the project in a third namespace, which the cluster refuses, and the first goes on.
func TestMintsAndRevokes(t *testing.T) {
	const first, second = "team-x", "team-y"
	i := install.New(t, install.Options{})
	install.Kubectl(t, i.ControlPlane, "delete", "namespace", controlplane.SystemNamespace, "--wait=false")
	install.Kubectl(t, i.ControlPlane, "apply", "--server-side", "-k", overlay(t, first))
	kubeconfig, flags := in(t, i.ControlPlane, first, "apikey-controller")
	i.Controller = i.StartController(t, install.ControllerOptions{Kubeconfig: kubeconfig, Flags: flags})
	kubeconfig, flags = in(t, i.ControlPlane, first, "apikey-verifier")
	i.Verifier = i.StartVerifier(t, install.VerifierOptions{Kubeconfig: kubeconfig, Flags: flags})

	works := func() {
		t.Helper()
		key, token := i.NewKey(t)
		question := install.Question{Token: token, TenantID: key.Status.TenantID}
		i.Verifier.AwaitAnswer(t, question, http.StatusOK, "")
		i.Revoke(t, key)
		i.Await(t, key, keysv1alpha1.ConditionRevocationEffective)
		i.Verifier.AwaitAnswer(t, question, http.StatusUnauthorized, "")
	}
	i.Create(t, fixture.Policy("nexuscommerce"))
	works()

	for _, how := range [][]string{{"--server-side", "--force-conflicts"}, nil} {
		args := append([]string{"apply", "-k", overlay(t, second)}, how...)
		out, err := i.RunKubectl(t.Context(), args...)
		for _, part := range []string{
			"ValidatingAdmissionPolicy 'apikey-installation'", "this cluster has an installation in namespace " + first,
			"can have one only", "only the ApiKey " + first + "/verifier-canary may have it",
		} {
			if err == nil || !strings.Contains(out, part) {
				t.Errorf("kubectl %v does not say %q: %v", how, part, err)
			}
		}
	}
	for _, name := range []string{
		"apikey-controller", "apikey-controller-secrets", "apikey-metrics-auth", "apikey-verifier",
	} {
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}}
		i.Get(t, binding)
		if len(binding.Subjects) != 1 || binding.Subjects[0].Namespace != first {
			t.Errorf("%s is now about %v", name, binding.Subjects)
		}
	}
	works()
	endsWithTheReason(t, i, second)
}

// endsWithTheReason starts the second installation's controller, which must end and say why.
func endsWithTheReason(t *testing.T, i *install.Installation, second string) {
	t.Helper()
	kubeconfig, flags := in(t, i.ControlPlane, second, "apikey-controller")
	controller := i.StartController(t,
		install.ControllerOptions{Kubeconfig: kubeconfig, Flags: append(flags, "--startup-timeout=1s")})
	<-controller.Exited()
	log := controller.Log()
	for _, part := range []string{"may not", "a cluster has one installation", "kubectl get clusterrolebinding"} {
		if !strings.Contains(log, part) {
			t.Errorf("it does not say %q: %s", part, log)
		}
	}
}
