package gitops_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// TestInstallationExamples checks that the objects in docs/install.md for Flux and Argo CD are valid, and that the
// folder that both name exists.
func TestInstallationExamples(t *testing.T) {
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(controlplane.Root(), "docs", "examples", name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	documents := bytes.Split(read("install-flux.yaml"), []byte("\n---\n"))
	if len(documents) != 2 {
		t.Fatalf("%d objects for Flux", len(documents))
	}
	var source sourcev1.GitRepository
	var kustomization kustomizev1.Kustomization
	var argo struct {
		Spec struct{ Source struct{ Path string } }
	}
	for _, err := range []error{
		yaml.UnmarshalStrict(documents[0], &source), yaml.UnmarshalStrict(documents[1], &kustomization),
		yaml.Unmarshal(read("install-argocd.yaml"), &argo),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if ref := kustomization.Spec.SourceRef; source.Kind != ref.Kind || source.Name != ref.Name {
		t.Errorf("the Kustomization's source is %s/%s, and there is %s/%s", ref.Kind, ref.Name, source.Kind, source.Name)
	}
	for _, path := range []string{kustomization.Spec.Path, argo.Spec.Source.Path} {
		if _, err := os.Stat(filepath.Join(controlplane.Root(), path, "kustomization.yaml")); path == "" || err != nil {
			t.Errorf("%q is no kustomization: %v", path, err)
		}
	}
}
