package gitops_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"github.com/fluxcd/pkg/ssa"
	ssautil "github.com/fluxcd/pkg/ssa/utils"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// flux applies objects and waits for them as Flux's kustomize-controller does, with its own library.
type flux struct {
	manager *ssa.ResourceManager
}

func newFlux(t *testing.T, i *install.Installation, checks []kustomize.CustomHealthCheck) *flux {
	t.Helper()
	newReader, err := cel.NewStatusReader(checks)
	if err != nil {
		t.Fatal(err)
	}
	mapper := i.Client.RESTMapper()
	poller := polling.NewStatusPoller(i.Client, mapper,
		polling.Options{CustomStatusReaders: []engine.StatusReader{newReader(mapper)}})
	owner := ssa.Owner{Field: "kustomize-controller", Group: "kustomize.toolkit.fluxcd.io"}
	return &flux{manager: ssa.NewResourceManager(i.Client, poller, owner)}
}

// apply applies objects in Flux's order, and returns what it did to each.
func (f *flux) apply(ctx context.Context, objects []*unstructured.Unstructured) (*ssa.ChangeSet, error) {
	options := ssa.DefaultApplyOptions()
	options.Cleanup = ssa.ApplyCleanupOptions{
		FieldManagers: []ssa.FieldManager{
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
		},
		Exclusions: map[string]string{"kustomize.toolkit.fluxcd.io/ssa": "Merge"},
	}
	return f.manager.ApplyAllStaged(ctx, copies(objects), options)
}

func (f *flux) mustApply(t *testing.T, objects []*unstructured.Unstructured) {
	t.Helper()
	if _, err := f.apply(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
}

// wait waits for objects as a Kustomization with spec.wait does.
func (f *flux) wait(objects []*unstructured.Unstructured, timeout time.Duration) error {
	return f.manager.Wait(objects, ssa.WaitOptions{Interval: 50 * time.Millisecond, Timeout: timeout, FailFast: true})
}

// copies returns copies, because applying overwrites the objects with the API server's response.
func copies(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	all := make([]*unstructured.Unstructured, len(objects))
	for i := range objects {
		all[i] = objects[i].DeepCopy()
	}
	return all
}

// samples are the objects of config/samples, with the patches of the Kustomization of config/gitops/flux.
func readSamples(t *testing.T, i *install.Installation) []*unstructured.Unstructured {
	t.Helper()
	folder := t.TempDir()
	overlay, err := yaml.Marshal(map[string]any{"resources": []string{"samples.yaml"},
		"patches": fluxSample(t).Spec.Patches})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"samples.yaml":       []byte(install.Kubectl(t, i.ControlPlane, "kustomize", install.Config("samples"))),
		"kustomization.yaml": overlay,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	objects, err := ssautil.ReadObjects(strings.NewReader(install.Kubectl(t, i.ControlPlane, "kustomize", folder)))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// of returns the objects of some kinds.
func of(objects []*unstructured.Unstructured, kinds ...string) []*unstructured.Unstructured {
	var found []*unstructured.Unstructured
	for _, object := range objects {
		for _, kind := range kinds {
			if object.GetKind() == kind {
				found = append(found, object)
			}
		}
	}
	return found
}
