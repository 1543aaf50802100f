// Package manifests_test applies config/ to a real control plane, and asks its API server for every write that the
// permissions there allow.
package manifests_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

const (
	systemNamespace = controlplane.SystemNamespace
	// tenantNamespace is one of config/samples.
	tenantNamespace = "warehouse"
	canaryName      = keysv1alpha1.CanaryName
)

var cp *controlplane.ControlPlane

func TestManifests(t *testing.T) {
	need.ControlPlane(t, "kube-controller-manager")
	RegisterFailHandler(Fail)
	RunSpecs(t, "Manifests")
}

// The project is installed as config/default/kustomization.yaml says, on a cluster that doesn't know the kinds.
var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(30 * time.Second)
	var err error
	cp, err = controlplane.Start(controlplane.Options{ControllerManager: true})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(cp.Stop()).To(Succeed()) })

	kubectl(ctx, "delete", "-k", folder("crd"), "--wait")
	apply(ctx, "crd")
	kubectl(ctx, "wait", "--for=condition=Established", "--timeout=1m", "crd/apikeys.keys.nexuscommerce.io")
	apply(ctx, "default")
	apply(ctx, "samples")
})

// folder returns the path of a folder in config/.
func folder(name string) string {
	return filepath.Join(controlplane.Root(), "config", name)
}

// kubectl runs kubectl as an administrator. It must succeed.
func kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	out, err := cp.RunKubectl(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
	return out
}

// apply applies a folder of config/. The API server must not warn: of unknown fields, or of pods that the namespace
// won't admit.
func apply(ctx context.Context, name string) {
	GinkgoHelper()
	Expect(kubectl(ctx, "apply", "--server-side", "-k", folder(name))).NotTo(ContainSubstring("Warning"))
}
