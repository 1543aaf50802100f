// Package gitops_test asks GitOps tools what they make of the objects of this project: Flux' own library (kstatus, its
// health checks in CEL, its server-side apply) and an Argo CD health check in the sandbox that Argo CD runs it in. The
// objects are on a real control plane, and the real controller has brought them to where they are.
//
// It is a module of its own, so that none of these tools is in the product's go.mod.
package gitops_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

const timeout = 30 * time.Second

// newInstallation installs the project and starts the controller, with the rights that it has in production.
func newInstallation(t *testing.T) *install.Installation {
	t.Helper()
	return install.New(t,
		install.Options{Manifests: []string{"default"}, Controller: &install.ControllerOptions{Flags: flags()}})
}

// flags has a controller warn of a key's end an hour before, less the second that keys of an hour need to have lived.
func flags(more ...string) []string { return append(more, "--expiry-warnings=3599s") }

// live returns an object as the API server has it, in the form in which every tool is given it.
func live(t *testing.T, i *install.Installation, object client.Object) *unstructured.Unstructured {
	t.Helper()
	kind, err := apiutil.GVKForObject(object, i.Client.Scheme())
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	if err := i.Client.Get(t.Context(), client.ObjectKeyFromObject(object), u); err != nil {
		t.Fatal(err)
	}
	return u
}
