package helm_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// release is a release of the chart on a real API server, in a namespace with another name than config/ has.
type release struct {
	*WithT

	t      *testing.T
	cp     *controlplane.ControlPlane
	folder string
}

func newRelease(t *testing.T) *release {
	t.Helper()
	r := &release{
		WithT: NewWithT(t), t: t, folder: chart(t, "0123abc-dirty"), // like a working tree's version
		cp: install.ControlPlane(t, controlplane.Options{ControllerManager: true}),
	}
	install.Kubectl(t, r.cp, "delete", "-k", install.Config("crd"), "--wait")
	install.Kubectl(t, r.cp, "apply", "-f", install.Config("samples", "namespaces.yaml"))
	return r
}

// helm runs Helm in the release's namespace.
func (r *release) helm(args ...string) (string, error) {
	r.t.Helper()
	return try(r.t, helm(r.t), append(args, "--kubeconfig="+r.cp.Kubeconfig, "--namespace=platform")...)
}

// done runs Helm, which must succeed.
func (r *release) done(args ...string) string {
	r.t.Helper()
	out, err := r.helm(args...)
	if err != nil {
		r.t.Fatalf("helm %v: %v\n%s", args, err, out)
	}
	return out
}

// canary reads the verifiers' canary.
func (r *release) canary() (*keysv1alpha1.ApiKey, error) {
	key := &keysv1alpha1.ApiKey{}
	return key, r.cp.Client.Get(r.t.Context(), client.ObjectKey{Namespace: "platform", Name: keysv1alpha1.CanaryName}, key)
}

// controller starts the controller with the account that the chart has given it.
func (r *release) controller() *program.Process {
	r.t.Helper()
	token := strings.TrimSpace(install.Kubectl(r.t, r.cp, "create", "token", "-n", "platform", "apikey-controller"))
	path := filepath.Join(r.t.TempDir(), "kubeconfig")
	content := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c,
  contexts: [{name: c, context: {cluster: c, user: u}}],
  clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}], users: [{name: u, user: {token: %s}}]}`,
		r.cp.Config.Host, base64.StdEncoding.EncodeToString(r.cp.Config.CAData), token)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return program.Start(r.t, program.Build(r.t, "./cmd/controller"), "--kubeconfig="+path, "--namespace=platform",
		"--namespaces=warehouse", "--create-canary", "--metrics-bind-address=0",
		"--health-probe-bind-address="+program.FreeAddress(r.t))
}

// tenantColumn returns the first column that kubectl shows of Tenants.
func (r *release) tenantColumn() string {
	r.t.Helper()
	return install.Kubectl(r.t, r.cp, "get", "crd", "tenants."+keysv1alpha1.GroupVersion.Group, "-o",
		"jsonpath={.spec.versions[0].additionalPrinterColumns[0].name}")
}

// TestOnAnAPIServer installs the chart on a cluster that has nothing of it, upgrades it, CustomResourceDefinitions
// included, and uninstalls it. The CustomResourceDefinitions and the keys are kept.
func TestOnAnAPIServer(t *testing.T) {
	r := newRelease(t)
	out := r.done("install", "keys", r.folder, "--create-namespace", "--set=controller.namespaces={warehouse}")
	r.Expect(out).To(ContainSubstring("apikey-verifier.platform.svc"))
	r.Expect(r.done("get", "manifest", "keys")).NotTo(ContainSubstring("apikey-system"))
	controller := r.controller()
	r.Eventually(func() error { _, err := r.canary(); return err }, install.Timeout).Should(Succeed())
	install.Kubectl(t, r.cp, "apply", "--server-side", "-k", install.Config("samples"))

	r.done("upgrade", "keys", r.folder, "--set=verifier.replicas=5")
	r.Expect(install.Kubectl(t, r.cp, "get", "deployment", "-n", "platform", "apikey-verifier", "-o",
		"jsonpath={.spec.replicas}")).To(Equal("5"))
	_, err := r.canary()
	r.Expect(err).NotTo(HaveOccurred())

	r.Expect(r.tenantColumn()).To(Equal("Tenant ID"))
	crds := filepath.Join(r.folder, "templates", "crds.yaml")
	content := read(t, r.folder, "templates/crds.yaml")
	changed := strings.Replace(content, "name: Tenant ID\n", "name: Tenant UUID\n", 1)
	r.Expect(os.WriteFile(crds, []byte(changed), 0o600)).To(Succeed())
	r.done("upgrade", "keys", r.folder)
	r.Expect(r.tenantColumn()).To(Equal("Tenant UUID"), "helm upgrade upgrades CustomResourceDefinitions")
	r.Expect(os.WriteFile(crds, []byte(content), 0o600)).To(Succeed())
	r.done("upgrade", "keys", r.folder, "--set=crds.enabled=false")
	r.Expect(r.tenantColumn()).To(Equal("Tenant UUID"), "crds.enabled=false leaves them as they are")

	// As they are after an earlier chart, which had them in its folder crds/, or after kubectl.
	install.Kubectl(t, r.cp, "apply", "--server-side", "--force-conflicts", "-k", install.Config("crd"))
	install.Kubectl(t, r.cp, "annotate", "crd", "tenants."+keysv1alpha1.GroupVersion.Group, "meta.helm.sh/release-name-")
	install.Kubectl(t, r.cp, "patch", "crd", "tenants."+keysv1alpha1.GroupVersion.Group, "--type=json",
		`--patch=[{"op":"replace","path":"/spec/versions/0/additionalPrinterColumns/0/name","value":"Tenant UUID"}]`)
	out, err = r.helm("upgrade", "keys", r.folder, "--reset-values")
	r.Expect(err).To(HaveOccurred())
	r.Expect(out).To(ContainSubstring("ownership"))
	r.done("upgrade", "keys", r.folder, "--reset-values", "--take-ownership", "--server-side=true", "--force-conflicts")
	r.Expect(r.tenantColumn()).To(Equal("Tenant ID"), "docs/upgrade.md")

	r.Expect(controller.Terminate(install.Timeout)).To(Equal(0), controller.Log())
	r.done("uninstall", "keys")
	r.Eventually(func() error { _, err := r.canary(); return err }, install.Timeout).Should(
		MatchError(apierrors.IsNotFound, "gone with the installation"))
	r.Expect(install.Kubectl(t, r.cp, "get", "apikeys", "-A", "-o", "name")).To(ContainSubstring("storefront"))
	r.Expect(install.Kubectl(t, r.cp, "get", "clusterroles,validatingadmissionpolicies", "-o",
		"name")).NotTo(ContainSubstring("apikey"))
}

// TestHelmTest checks the pod of helm test: a namespace that enforces the Pod Security Standard restricted accepts it,
// and it calls the verifier as each mode of TLS needs it.
func TestHelmTest(t *testing.T) {
	g, folder := NewWithT(t), chart(t, "v1.2.3")
	cp := install.ControlPlane(t, controlplane.Options{})
	install.Kubectl(t, cp, "label", "namespace", "apikey-system", "pod-security.kubernetes.io/enforce=restricted")
	install.Kubectl(t, cp, "apply", "-f", install.Config("rbac", "controller.yaml"))
	for mode, want := range map[string]string{
		"self-signed": "name: apikey-ca", "secrets": "name: apikey-ca", "cert-manager": "secretName: apikey-verifier-tls",
		"none": "--url=http://apikey-verifier.apikey-system.svc:8080",
	} {
		out := run(t, helm(t), "template", "any", folder, "--namespace=apikey-system", "--set=tls.mode="+mode,
			"--show-only=templates/tests.yaml")
		g.Expect(out).To(ContainSubstring(want), mode)
		path := filepath.Join(t.TempDir(), "tests.yaml")
		g.Expect(os.WriteFile(path, []byte(out), 0o600)).To(Succeed())
		g.Expect(install.Kubectl(t, cp, "create", "--dry-run=server", "-f", path)).To(And(
			ContainSubstring("pod/apikey-test created"), ContainSubstring("networkpolicy"),
			Not(ContainSubstring("Warning"))), mode)
	}
	out := run(t, helm(t), "template", "any", folder, "--set=networkPolicy.enabled=false",
		"--show-only=templates/tests.yaml")
	g.Expect(out).NotTo(ContainSubstring("NetworkPolicy"))
}
