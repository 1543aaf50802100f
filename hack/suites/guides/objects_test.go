package guides_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/gomodule"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
)

// crds has the CustomResourceDefinitions that the guides need: paths in the modules.
var crds = map[module][]string{
	gatewayAPI: {
		"config/crd/experimental/gateway.networking.k8s.io_backendtlspolicies.yaml",
		"config/crd/experimental/gateway.networking.k8s.io_httproutes.yaml",
		"config/crd/experimental/gateway.networking.k8s.io_referencegrants.yaml",
	},
	envoyGateway: {
		gomodule.EnvoyGatewayCRDs + "/generated/gateway.envoyproxy.io_clienttrafficpolicies.yaml",
		gomodule.EnvoyGatewayCRDs + "/generated/gateway.envoyproxy.io_envoyproxies.yaml",
		gomodule.EnvoyGatewayCRDs + "/generated/gateway.envoyproxy.io_securitypolicies.yaml",
	},
	istioAPI: {"kubernetes/customresourcedefinitions.gen.yaml"},
	contour:  {gomodule.ContourCRDs},
	traefik:  {gomodule.TraefikCRDs},
	apisixIngress: {
		"samples/deploy/crd/v1/ApisixPluginConfig.yaml",
		"samples/deploy/crd/v1/ApisixRoute.yaml",
	},
}

// notObjects has the files that other tests here read, and why they are not objects for an API server.
var notObjects = map[string]string{
	"apisix/config.yaml":         "APISIX' own configuration",
	"contour/contour.yaml":       "Contour's own configuration",
	"envoy/grpc.yaml":            "Envoy's own configuration",
	"envoy/http.yaml":            "Envoy's own configuration",
	"istio/meshconfig.yaml":      "values of Istio's Helm chart",
	"istio/meshconfig-http.yaml": "values of Istio's Helm chart",
	"traefik/static.yaml":        "Traefik's own configuration",

	"nginx-gateway-fabric/snippetspolicy.yaml": "its CustomResourceDefinition is in no module that can be had; " +
		"internal/test/suites/bypass runs the snippets",
}

// TestObjects applies every object of every guide.
func TestObjects(t *testing.T) {
	need.ControlPlane(t)
	cp, err := controlplane.Start(controlplane.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	kubectl := func(t *testing.T, args ...string) {
		t.Helper()
		out, err := cp.RunKubectl(ctx, args...)
		if err != nil {
			t.Fatal(err)
		}
		if pages.Warns(out) {
			t.Errorf("the API server warns:\n%s", out)
		}
	}
	for m, names := range crds {
		folder := m.folder(t)
		for _, name := range names {
			if out, err := cp.RunKubectl(ctx, "apply", "--server-side", "-f", filepath.Join(folder, name)); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	}
	kubectl(t, "wait", "--for=condition=Established", "--timeout=2m", "crd", "--all")
	for _, name := range []string{"warehouse", "istio-ingress", "ingress-nginx", "gateways"} {
		if err := cp.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}

	files, err := filepath.Glob(guide("*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	applied := 0
	for _, file := range files {
		name, err := filepath.Rel(guide(), file)
		if err != nil {
			t.Fatal(err)
		}
		if why, ok := notObjects[name]; ok {
			t.Logf("%s: %s", name, why)
			continue
		}
		applied++
		t.Run(name, func(t *testing.T) {
			// Guides share names, so each is applied after the others were deleted.
			kubectl(t, "apply", "--validate=strict", "-f", file)
			kubectl(t, "delete", "--wait", "-f", file)
		})
	}
	if applied < 8 {
		t.Errorf("only %d files", applied)
	}
	for name, why := range notObjects {
		if _, err := os.Stat(guide(filepath.FromSlash(name))); err != nil {
			t.Errorf("%s (%s): %v", name, why, err)
		}
	}
}
