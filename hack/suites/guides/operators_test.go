package guides_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
)

var (
	argoCD = module{
		"github.com/argoproj/argo-cd/v3", "v3.5.7", "h1:Xm1BF+I5OgDKUG3SDK49vn2/Y5AMyaNVko+/JT08gj0=",
	}
	externalSecrets = module{
		"github.com/external-secrets/external-secrets", "v0.16.2", "h1:iNY+gIgSyL5higXTfnz+hdPCaiB/43UiHLqE7HBpj68=",
	}
	certManager = module{
		"github.com/cert-manager/cert-manager", "v1.21.2", "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
	}
	fluxSource = module{
		"github.com/fluxcd/source-controller", "v1.9.6", "h1:nG534/bI6nVpyHra7ONAk6xDB3xPsVT+EOLHZHXPrrc=",
	}
	fluxKustomize = module{
		"github.com/fluxcd/kustomize-controller", "v1.9.6", "h1:XB+G3A0mky0j5uVHZWv4oSlS2RvZBoNIUhstIvY0JKE=",
	}
	prometheusOperator = module{
		"github.com/prometheus-operator/prometheus-operator", "v0.85.0", "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
	}
	operatorsCRDs = map[module][]string{
		argoCD: {
			"manifests/crds/application-crd.yaml",
			"manifests/crds/applicationset-crd.yaml",
			"manifests/crds/appproject-crd.yaml",
		},
		externalSecrets: {
			"config/crds/bases/external-secrets.io_externalsecrets.yaml",
			"config/crds/bases/external-secrets.io_pushsecrets.yaml",
		},
		certManager: {"deploy/crds/cert-manager.io_certificates.yaml"},
		fluxSource: {
			"config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml",
			"config/crd/bases/source.toolkit.fluxcd.io_ocirepositories.yaml",
		},
		fluxKustomize: {"config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml"},
		prometheusOperator: {
			"example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
			"example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
		},
	}
)

// TestOperatorsKinds applies the objects of other operators in the documentation and config/, and runs the commands
// about them, on an API server that has these operators' CustomResourceDefinitions. An unknown field is refused.
func TestOperatorsKinds(t *testing.T) {
	cp := install.ControlPlane(t, controlplane.Options{}, "default")
	for m, names := range operatorsCRDs {
		for _, name := range names {
			install.Kubectl(t, cp, "apply", "--server-side", "-f", filepath.Join(m.folder(t), name))
		}
	}
	install.Kubectl(t, cp, "apply", "-f", filepath.Join("testdata", "servicebinding.yaml"))
	install.Kubectl(t, cp, "wait", "--for=condition=Established", "--timeout=2m", "crd", "--all")
	for _, namespace := range []string{"warehouse", "argocd", "flux-system", "fulfilment", "acme"} {
		install.Kubectl(t, cp, "create", "namespace", namespace)
	}
	strictly := func(t *testing.T, args ...string) {
		t.Helper()
		out := install.Kubectl(t, cp,
			append([]string{"apply", "--server-side", "--force-conflicts", "--validate=strict"}, args...)...)
		if pages.Warns(out) {
			t.Errorf("the API server warns:\n%s", out)
		}
	}

	for _, components := range [][]string{{"cert-manager"}, {"monitoring"}, {"monitoring", "cert-manager"}} {
		t.Run("components "+strings.Join(components, ", "), func(t *testing.T) {
			strictly(t, "-k", install.Kustomization(t, []string{"default"}, components...))
		})
	}
	t.Run("gitops", func(t *testing.T) {
		strictly(t, "-k", install.Config("gitops", "argocd"))
		strictly(t, "-f", install.Config("gitops", "argocd", "application.yaml"), "-f", install.Config("gitops", "flux"))
	})

	documentation := pages.For(t, pages.Kinds)
	for _, b := range documentation.TakeAll("yaml") {
		t.Run(b.String(), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "manifest.yaml")
			if err := os.WriteFile(file, []byte(b.Text), 0o600); err != nil {
				t.Fatal(err)
			}
			strictly(t, "-f", file)
		})
	}
	for _, b := range documentation.TakeAll("sh") {
		t.Run(b.String(), func(t *testing.T) {
			command := exec.CommandContext(t.Context(), need.Program(t, "bash"), "-euxo", "pipefail", "-c", b.Text)
			command.Dir = controlplane.Root()
			command.Env = append(os.Environ(), "KUBECONFIG="+cp.Kubeconfig,
				fmt.Sprintf("PATH=%s:%s", filepath.Dir(cp.Kubectl), os.Getenv("PATH")))
			out, err := command.CombinedOutput()
			if err != nil || pages.Warns(string(out)) || strings.Contains(string(out), "No resources found") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	documentation.Done(t)
}
