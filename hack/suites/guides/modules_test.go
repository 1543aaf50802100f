// Package guides_test holds the configuration that docs/guides shows to what the proxies themselves accept:
//
//   - Kubernetes objects are applied to a real API server that has the proxies' own CustomResourceDefinitions. Fields
//     that are misspelt are refused, and the projects' own validation rules run.
//   - Envoy's configuration is read into Envoy's own types, and Istio's into Istio's, with their rules.
//   - Annotations and plugin attributes, which no schema knows, are compared with the names that the proxies'
//     source has.
//
// What the proxies do with it is not tested here: internal/test/suites/bypass runs those that can be had.
//
// It is a module of its own, so that none of this is in the product's go.mod. The proxies' modules are downloaded and
// never built.
package guides_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/gomodule"
)

// module is a Go module that a proxy's project publishes, with its version and its hash (as in go.sum).
type module gomodule.Module

var (
	gatewayAPI = module{"sigs.k8s.io/gateway-api", "v1.6.3", "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc="}
	istioAPI   = module{"istio.io/api", "v1.31.1", "h1:5Yb5ihcz4YQsCkciusK7DnFpBMwRB6EFWeUKH1Atuyk="}
	// What internal/test/suites/bypass runs.
	traefik, contour, envoyGateway = module(gomodule.Traefik), module(gomodule.Contour), module(gomodule.EnvoyGateway)
	// The last version that is available as a module; apisix.apache.org/v2 has been in use since.
	apisixIngress = module{
		"github.com/apache/apisix-ingress-controller", "v1.8.4", "h1:p5OOqJDv0AHW9dnMySjZAsWDyrXSotWb/J3QQxEpfGo=",
	}
	// Of July 2024, the last version that is available as a module. The project has since ended.
	ingressNginx = module{
		"k8s.io/ingress-nginx", "v0.0.0-20240708192948-52c50467d67d", "h1:tZui5g6S4GO1hxLm6yrEoIXLkl4QfeGytlmZqZ+DmdQ=",
	}
)

// folder downloads the module, unless the module cache has it, and returns its folder.
func (m module) folder(t *testing.T) string {
	t.Helper()
	return gomodule.Module(m).Folder(t)
}

// mentions reports whether a file of the module, below a folder and with an extension, contains a text.
func (m module) mentions(t *testing.T, folder, extension, text string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(filepath.Join(m.folder(t), folder), func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if found || entry.IsDir() || !strings.HasSuffix(path, extension) || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		content, err := os.ReadFile(path)
		found = strings.Contains(string(content), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// guide returns the path of a guide's file.
func guide(path ...string) string {
	return filepath.Join(slices.Concat([]string{controlplane.Root(), "docs", "guides"}, path)...)
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
