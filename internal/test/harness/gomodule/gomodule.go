// Package gomodule brings files of Go modules that are no dependencies, for tests to read: CustomResourceDefinitions
// that a proxy's project publishes, and its source. They are downloaded and never built.
package gomodule

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// Module is a Go module, by its version and its hash (as in go.sum).
type Module struct{ Path, Version, Sum string }

// Folder downloads the module, where the module cache doesn't have it, and returns where it is.
func (m Module) Folder(t testing.TB) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", m.Path+"@"+m.Version)
	command.Dir = t.TempDir() // In a module, its go.mod would have a say.
	command.Env = append(os.Environ(), "GOWORK=off")
	out, err := command.Output()
	var answer struct{ Dir, Sum, Error string }
	if jsonErr := json.Unmarshal(out, &answer); jsonErr != nil {
		t.Fatalf("%s@%s: %v, %v", m.Path, m.Version, err, jsonErr)
	}
	if err != nil || answer.Error != "" {
		t.Fatalf("%s@%s: %v, %s", m.Path, m.Version, err, answer.Error)
	}
	if answer.Sum != m.Sum {
		t.Fatalf("%s@%s is %s, not %s", m.Path, m.Version, answer.Sum, m.Sum)
	}
	return answer.Dir
}

// Traefik is the last version that is available as a module. Its CustomResourceDefinitions are those of the later patch
// releases.
var Traefik = Module{"github.com/traefik/traefik/v3", "v3.7.13", "h1:T8wy9KuaFzCkmXCqAzDy7t73pBDR1DHrJe3pqXpNXTw="}

// TraefikCRDs is the path in that module.
const TraefikCRDs = "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"

// Contour and EnvoyGateway are what hack/tools/contour and hack/tools/envoygateway build.
var (
	Contour = Module{
		"github.com/projectcontour/contour", "v1.33.8", "h1:QoOfwqWws+CVRFpsRC2+f1DmB5IdurtyUtepIsiWfE0=",
	}
	EnvoyGateway = Module{
		"github.com/envoyproxy/gateway", "v1.9.1", "h1:vAVp6/AlBXJ1aOhp1mxL7fNEzVEfjADUguUhm2wzxQY=",
	}
)

// ContourCRDs and EnvoyGatewayCRDs are paths in those modules.
const (
	ContourCRDs      = "examples/contour/01-crds.yaml"
	EnvoyGatewayCRDs = "charts/gateway-helm/charts/crds/crds"
)
