// Package gitops_test applies config/samples as people and pipelines do: in any order, and again. The controller is the
// real binary with the rights that config/default gives it.
//
// What GitOps tools make of the objects is tested in hack/suites/gitops, with those tools' own libraries.
package gitops_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const timeout = 30 * time.Second

// newInstallation installs the project as config/default has it, and starts the controller.
func newInstallation(t *testing.T) *install.Installation {
	t.Helper()
	return install.New(t, install.Options{Manifests: []string{"default"}, Controller: &install.ControllerOptions{}})
}

// samples returns the objects of config/samples, by kind.
func samples(t *testing.T, i *install.Installation) map[string][]*unstructured.Unstructured {
	t.Helper()
	found := map[string][]*unstructured.Unstructured{}
	text := install.Kubectl(t, i.ControlPlane, "kustomize", controlplane.Root()+"/config/samples")
	for document := range strings.SplitSeq(text, "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			t.Fatal(err)
		}
		found[object.GetKind()] = append(found[object.GetKind()], object)
	}
	return found
}

// awaitKeys waits until every key in the cluster, of which there must be some, is as it should be.
func awaitKeys(t *testing.T, i *install.Installation, what string, count int, check func(*keysv1alpha1.ApiKey) bool) {
	t.Helper()
	program.WaitUntil(t, timeout, what, func() error {
		keys := &keysv1alpha1.ApiKeyList{}
		if err := i.Client.List(t.Context(), keys); err != nil {
			return err
		}
		found := 0
		for n := range keys.Items {
			key := &keys.Items[n]
			if _, canary := key.Labels[keysv1alpha1.CanaryLabel]; canary {
				continue
			}
			if !check(key) {
				return fmt.Errorf("%s: %v", client.ObjectKeyFromObject(key), key.Status.Conditions)
			}
			found++
		}
		if found != count {
			return fmt.Errorf("%d keys, want %d", found, count)
		}
		return nil
	})
}

// observed reports whether the controller has seen a key as it is.
func observed(key *keysv1alpha1.ApiKey) bool {
	return key.Status.ObservedGeneration == key.Generation &&
		apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionReady) != nil
}

func ready(key *keysv1alpha1.ApiKey) bool {
	return observed(key) && apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionReady)
}
