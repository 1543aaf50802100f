package gitops_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fluxcd/pkg/ssa"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// TestFlux goes through what a Kustomization like that in config/gitops/flux meets: the samples are applied in Flux's
// own order, which has keys before tenants; nothing changes; somebody changes something by hand; a key is revoked.
func TestFlux(t *testing.T) {
	i := newInstallation(t)
	samples := readSamples(t, i)
	kustomization := newFlux(t, i, fluxSample(t).Spec.HealthCheckExprs)
	plain := newFlux(t, i, nil)

	t.Run("keys may come long before their tenants", func(t *testing.T) { keysFirst(t, i, kustomization, plain, samples) })

	t.Run("all is ready, and another apply changes nothing", func(t *testing.T) {
		for range 2 {
			if err := kustomization.wait(samples, timeout); err != nil {
				t.Fatal(err)
			}
			changes, err := kustomization.apply(t.Context(), samples)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range changes.Entries {
				if entry.Action != ssa.UnchangedAction {
					t.Errorf("%s: %s", entry.Subject, entry.Action)
				}
			}
		}
	})

	t.Run("what is done by hand in an emergency stays", func(t *testing.T) {
		for _, desired := range []string{"Suspended", "Revoked"} {
			setState(t, i, "storefront", desired)
			kustomization.mustApply(t, samples)
			expectState(t, i, "storefront", desired)
		}
	})

	t.Run("a revoked key holds nothing up", func(t *testing.T) {
		if err := kustomization.wait(samples, timeout); err != nil {
			t.Error(err)
		}
		if err := plain.wait(samples, timeout); err != nil {
			t.Errorf("without the sample's health checks: %v", err)
		}
	})

	t.Run("without the sample's annotation Flux takes back a suspension, and fails on a revocation until Git says so",
		func(t *testing.T) {
			withoutAnnotation(t, i, kustomization, samples)
		})
}

// keysFirst applies keys before the objects that they depend on. With the sample's health checks Flux waits for them;
// without, it gives up.
func keysFirst(t *testing.T, i *install.Installation, checked, plain *flux, samples []*unstructured.Unstructured) {
	t.Helper()
	early, late := of(samples, "Namespace", "ApiKey"), of(samples, "Tenant", "AccessPolicy")
	checked.mustApply(t, early)
	e := newEnvironment(t, i)
	for _, key := range listKeys(t, early) {
		e.awaitKey(key, keysv1alpha1.ReasonNoTenant)
	}
	expectTrap(t, plain.wait(early, timeout), "failed early due to stalled resources")
	done := make(chan error, 1)
	go func() { done <- checked.wait(early, timeout) }()
	checked.mustApply(t, late)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// withoutAnnotation applies a key without the annotation that makes Flux keep manual changes.
func withoutAnnotation(t *testing.T, i *install.Installation, checked *flux, samples []*unstructured.Unstructured) {
	t.Helper()
	const name = "warehouse-integration"
	key := slices.DeleteFunc(of(copies(samples), "ApiKey"),
		func(k *unstructured.Unstructured) bool { return k.GetName() != name })
	key[0].SetAnnotations(nil)
	checked.mustApply(t, key) // Removes the annotation.
	setState(t, i, name, "Suspended")
	checked.mustApply(t, key)
	expectState(t, i, name, "Active")

	setState(t, i, name, "Revoked")
	if _, err := checked.apply(t.Context(), key); err == nil ||
		!strings.Contains(err.Error(), "a revoked key can't come back") {
		t.Errorf("Flux brings a revoked key back, or doesn't say why not: %v", err)
	}
	expectState(t, i, name, "Revoked")
	if err := unstructured.SetNestedField(key[0].Object, "Revoked", "spec", "state"); err != nil {
		t.Fatal(err)
	}
	checked.mustApply(t, key)
}

// expectTrap expects Flux to fail without the sample's health checks. Once it doesn't, remove the trap from here, from
// the sample and from config/gitops/README.md.
func expectTrap(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("without the sample's health checks: %v, want an error with %q", err, want)
	}
}

func listKeys(t *testing.T, objects []*unstructured.Unstructured) []*keysv1alpha1.ApiKey {
	t.Helper()
	var keys []*keysv1alpha1.ApiKey
	for _, object := range of(objects, "ApiKey") {
		key := &keysv1alpha1.ApiKey{}
		key.Namespace, key.Name = object.GetNamespace(), object.GetName()
		keys = append(keys, key)
	}
	return keys
}

func setState(t *testing.T, i *install.Installation, key, desired string) {
	t.Helper()
	install.Kubectl(t, i.ControlPlane, "patch", "apikey", "-n", "warehouse", key, "--type=merge", "-p",
		`{"spec":{"state":"`+desired+`"}}`)
}

func expectState(t *testing.T, i *install.Installation, key, want string) {
	t.Helper()
	if got := install.Kubectl(t, i.ControlPlane, "get", "apikey", "-n", "warehouse", key, "-o",
		"jsonpath={.spec.state}"); got != want {
		t.Errorf("ApiKey %s is %s, want %s", key, got, want)
	}
}
