package gitops_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// labels is the step in which namespaces get the labels that tenants select by.
const labels = "labels"

// TestEveryOrder applies the samples in every order that the API server takes: an object needs its namespace. Keys that
// are created before what they need are refused before that is created, so that no order passes by luck.
//
// It fails when one of the Watches in the apikey controller's Register is removed.
func TestEveryOrder(t *testing.T) {
	i := newInstallation(t)
	objects := samples(t, i)
	n := 0
	for order := range permutations([]string{"Namespace", labels, "Tenant", "AccessPolicy", "ApiKey"}) {
		first := slices.Index(order, "Namespace")
		if first > slices.Index(order, labels) || first > slices.Index(order, "ApiKey") {
			continue
		}
		n++
		t.Run(strings.Join(order, "-"), func(t *testing.T) {
			applyInOrder(t, i, order, inNamespaces(objects, fmt.Sprintf("-%d", n)))
			awaitKeys(t, i, "all keys Ready", len(objects["ApiKey"]), ready)
			removeAll(t, i)
		})
	}
	if n != 40 {
		t.Errorf("%d orders, want 40: of the 120, those with the namespaces before labels and keys", n)
	}
}

func applyInOrder(t *testing.T, i *install.Installation, order []string,
	objects map[string][]*unstructured.Unstructured) {
	t.Helper()
	keys := 0
	for _, step := range order {
		apply(t, i, objects[step])
		if step == "ApiKey" {
			keys = len(objects[step])
		}
		awaitKeys(t, i, "every key observed", keys, observed)
	}
}

// apply applies objects one after the other.
func apply(t *testing.T, i *install.Installation, objects []*unstructured.Unstructured) {
	t.Helper()
	var documents bytes.Buffer
	for _, object := range objects {
		if err := json.NewEncoder(&documents).Encode(object); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "objects.json")
	if err := os.WriteFile(file, documents.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	install.Kubectl(t, i.ControlPlane, "apply", "-f", file)
}

// inNamespaces returns the samples in namespaces of their own, which have no labels at first. Without a
// kube-controller-manager no namespace is ever removed.
func inNamespaces(originals map[string][]*unstructured.Unstructured,
	suffix string) map[string][]*unstructured.Unstructured {
	objects := map[string][]*unstructured.Unstructured{}
	for kind := range originals {
		for _, sample := range originals[kind] {
			object := sample.DeepCopy()
			if object.GetNamespace() != "" {
				object.SetNamespace(object.GetNamespace() + suffix)
			}
			if kind == "Namespace" {
				object.SetName(object.GetName() + suffix)
				objects[labels] = append(objects[labels], object.DeepCopy())
				object.SetLabels(nil)
			}
			objects[kind] = append(objects[kind], object)
		}
	}
	return objects
}

// removeAll deletes everything but the namespaces.
func removeAll(t *testing.T, i *install.Installation) {
	t.Helper()
	keys := &keysv1alpha1.ApiKeyList{}
	if err := i.Client.List(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	for n := range keys.Items {
		key := &keys.Items[n]
		if _, canary := key.Labels[keysv1alpha1.CanaryLabel]; canary {
			continue
		}
		if err := i.Client.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []client.Object{&keysv1alpha1.Tenant{}, &keysv1alpha1.AccessPolicy{}} {
		if err := i.Client.DeleteAllOf(t.Context(), kind); err != nil {
			t.Fatal(err)
		}
	}
}

// permutations returns all orders of some values.
func permutations(values []string) iter.Seq[[]string] {
	return func(yield func([]string) bool) { permute(nil, values, yield) }
}

func permute(head, rest []string, yield func([]string) bool) bool {
	if len(rest) == 0 {
		return yield(head)
	}
	for n := range rest {
		remaining := slices.Delete(slices.Clone(rest), n, n+1)
		if !permute(append(slices.Clone(head), rest[n]), remaining, yield) {
			return false
		}
	}
	return true
}
