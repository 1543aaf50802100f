package gitops_test

import (
	"maps"
	"os"
	"slices"
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// TestArgoCD applies what Argo CD applies and its settings, on a cluster that already has other settings.
func TestArgoCD(t *testing.T) {
	i := newInstallation(t)
	t.Run("health checks come beside other settings", func(t *testing.T) { settingsAreMerged(t, i) })
	t.Run("what is done by hand in an emergency stays", func(t *testing.T) {
		sync := []string{"apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-k",
			install.Config("samples")}
		install.Kubectl(t, i.ControlPlane, sync...)
		for _, desired := range []string{"Suspended", "Revoked"} {
			setState(t, i, "storefront", desired)
			install.Kubectl(t, i.ControlPlane, sync...)
			expectState(t, i, "storefront", desired)
		}
	})
}

func settingsAreMerged(t *testing.T, i *install.Installation) {
	t.Helper()
	settings := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: "argocd-cm",
			Labels: map[string]string{"app.kubernetes.io/part-of": "argocd"}},
		Data: map[string]string{"url": "https://argocd.example.com"},
	}
	newEnvironment(t, i).create(fixture.Namespace(settings.Namespace, ""), settings)
	install.Kubectl(t, i.ControlPlane, "apply", "--server-side", "-k", install.Config("gitops", "argocd"))
	if err := i.Client.Get(t.Context(), client.ObjectKeyFromObject(settings), settings); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"resource.customizations.health.keys.nexuscommerce.io_AccessPolicy",
		"resource.customizations.health.keys.nexuscommerce.io_ApiKey",
		"resource.customizations.health.keys.nexuscommerce.io_Tenant",
		"url",
	}
	if got := slices.Sorted(maps.Keys(settings.Data)); !slices.Equal(got, want) {
		t.Errorf("argocd-cm has %v, want %v", got, want)
	}
}

// TestHealthChecksNeverFail runs them on objects that no controller has written. A check that fails makes the whole
// Application's health Unknown.
func TestHealthChecksNeverFail(t *testing.T) {
	for _, file := range []string{"apikey-health.lua", "tenant-health.lua", "accesspolicy-health.lua"} {
		script, err := os.ReadFile(install.Config("gitops", "argocd", file))
		if err != nil {
			t.Fatal(err)
		}
		for name, test := range map[string]struct {
			object string
			want   argoHealth
		}{
			"nothing":                      {`{"metadata":{"generation":1}}`, progressing},
			"an empty status":              {`{"metadata":{"generation":1},"status":{}}`, progressing},
			"another's part of the status": {`{"metadata":{"generation":1},"status":{"usage":[{"id":"x"}]}}`, progressing},
			"nothing observed yet":         {`{"metadata":{"generation":1},"status":{"observedGeneration":-1}}`, progressing},
			"no conditions":                {`{"metadata":{"generation":1},"status":{"observedGeneration":1}}`, healthy},
			"labels and no conditions": {
				`{"metadata":{"generation":1,"labels":{"a":"b"}},"status":{"observedGeneration":1,"conditions":[]}}`, healthy,
			},
			"a condition that nobody knows": {
				`{"metadata":{"generation":1},"status":{"observedGeneration":1,
				"conditions":[{"type":"X","status":"True","reason":"Y","message":""}]}}`, healthy,
			},
		} {
			// Decoded as API clients do: integers stay integers.
			object := &unstructured.Unstructured{}
			if err := object.UnmarshalJSON([]byte(`{"apiVersion":"v1","kind":"X",` + test.object[1:])); err != nil {
				t.Fatal(err)
			}
			got, _, err := sandbox(string(script), object.Object)
			if err != nil || got != test.want {
				t.Errorf("%s: %s: %s %v, want %s", file, name, got, err, test.want)
			}
		}
	}
}

func TestSourceIsOneOfFlux(t *testing.T) {
	content, err := os.ReadFile(install.Config("gitops", "flux", "source.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var source sourcev1.OCIRepository
	if err := yaml.UnmarshalStrict(content, &source); err != nil {
		t.Fatal(err)
	}
	ref := fluxSample(t).Spec.SourceRef
	if source.Kind != ref.Kind || source.Name != ref.Name {
		t.Errorf("the Kustomization's source is %s, and the sample has %s/%s", ref.Name, source.Kind, source.Name)
	}
}
