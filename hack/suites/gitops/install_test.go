// Package gitops_test checks how GitOps tools assess this project's objects: Flux's own library (kstatus, its health
// checks in CEL, its server-side apply), and an Argo CD health check in the sandbox that Argo CD runs it in. The
// objects are on a real control plane, in states that the real controller has brought about.
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

// newInstallation installs the project and starts the controller, with its production rights.
func newInstallation(t *testing.T) *install.Installation {
	t.Helper()
	return install.New(t,
		install.Options{Manifests: []string{"default"}, Controller: &install.ControllerOptions{Flags: flags()}})
}

// flags makes a controller warn of a key's expiry an hour before it, less a second: keys of an hour must have lived
// that long.
func flags(more ...string) []string { return append(more, "--expiry-warnings=3599s") }

// live returns an object as the API server has it, in the form in which every tool gets it.
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
