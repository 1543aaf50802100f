package gitops_test

import (
	"os"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/runtime/cel"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// argoHealth is the health of a resource in Argo CD.
type argoHealth string

const (
	healthy     argoHealth = "Healthy"
	progressing argoHealth = "Progressing"
	degraded    argoHealth = "Degraded"
	// unassessed is the health of a resource for which Argo CD has no check. It counts as healthy.
	unassessed argoHealth = "none"
)

// assessor assesses objects as the GitOps tools do, set up as config/gitops says.
type assessor struct {
	lua  map[string]string
	flux map[schema.GroupKind]*cel.StatusEvaluator
}

func newAssessor(t *testing.T, i *install.Installation) *assessor {
	t.Helper()
	a := &assessor{flux: map[schema.GroupKind]*cel.StatusEvaluator{}}
	var settings corev1.ConfigMap
	if err := yaml.UnmarshalStrict([]byte(install.Kubectl(t, i.ControlPlane, "kustomize",
		install.Config("gitops", "argocd"))), &settings); err != nil {
		t.Fatal(err)
	}
	a.lua = settings.Data
	for _, check := range fluxSample(t).Spec.HealthCheckExprs {
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			t.Fatal(err)
		}
		a.flux[schema.FromAPIVersionAndKind(check.APIVersion, check.Kind).GroupKind()] = evaluator
	}
	return a
}

func fluxSample(t *testing.T) *kustomizev1.Kustomization {
	t.Helper()
	content, err := os.ReadFile(install.Config("gitops", "flux", "keys.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	sample := &kustomizev1.Kustomization{}
	if err := yaml.UnmarshalStrict(content, sample); err != nil {
		t.Fatal(err)
	}
	return sample
}

// kstatus returns the status of an object in Flux, Helm, kpt and everything else that is built on kstatus.
func (*assessor) kstatus(t *testing.T, object *unstructured.Unstructured) status.Status {
	t.Helper()
	result, err := status.Compute(object)
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}

// fluxStatus returns the status of an object in Flux with the health checks of the sample.
func (a *assessor) fluxStatus(t *testing.T, object *unstructured.Unstructured) status.Status {
	t.Helper()
	evaluator, ok := a.flux[object.GroupVersionKind().GroupKind()]
	if !ok {
		return a.kstatus(t, object)
	}
	result, err := evaluator.Evaluate(t.Context(), object)
	switch {
	case err == nil:
		return result.Status
	case object.Object["status"] == nil:
		return inProgress // The expressions name status. Without it, Flux reads Unknown and polls again.
	}
	t.Fatal(err)
	return ""
}

// argo returns the health of an object in Argo CD: first whether it is being deleted, then what a health check says.
func (a *assessor) argo(t *testing.T, object *unstructured.Unstructured) (argoHealth, string) {
	t.Helper()
	if object.GetDeletionTimestamp() != nil {
		return progressing, "Pending deletion"
	}
	kind := object.GroupVersionKind()
	script, ok := a.lua["resource.customizations.health."+kind.Group+"_"+kind.Kind]
	if !ok {
		return unassessed, ""
	}
	health, message, err := sandbox(script, object.Object)
	if err != nil {
		t.Fatal(err)
	}
	return health, message
}
