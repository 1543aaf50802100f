// Package memory_test compares the memory that connections to all ports of a program may take, and that the program
// needs by itself, with the memory limit of its manifest and with the threat model.
package memory_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/console"
	"github.com/nexuscommerce/apikey-operator/internal/limit"
	"github.com/nexuscommerce/apikey-operator/internal/monitor"
	"github.com/nexuscommerce/apikey-operator/internal/serving"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

const mebi = 1 << 20

// port is a port that a program listens on.
type port struct {
	name   string
	bounds limit.Bounds
}

// programs are those of config/, with the name of every port that their containers have.
var programs = map[string]struct {
	manifest string
	ports    []port
	// needs is what the program takes with the keys that its manifest speaks of, in MiB, where it isn't in
	// docs/scale.json.
	needs float64
}{
	"verifier": {"verifier/deployment.yaml", []port{
		{"http", serving.HTTPBounds}, {"grpc", serving.GRPCBounds}, {"metrics", monitor.Bounds}, {"health", monitor.Bounds},
	}, 0},
	"controller": {"controller/deployment.yaml", []port{{"metrics", monitor.Bounds}, {"health", monitor.Bounds}}, 0},
	"console": {"components/console/deployment.yaml", []port{{"https", console.Bounds}, {"health", monitor.Bounds}},
		256},
}

// TestWorstCase checks that every port has bounds, that their sum and what the program needs are below the memory
// limit, and that docs/threat-model.md has these numbers.
func TestWorstCase(t *testing.T) {
	model := read(t, "docs", "threat-model.md")
	for name, program := range programs {
		var deployment appsv1.Deployment
		if err := yaml.Unmarshal([]byte(read(t, "config", filepath.FromSlash(program.manifest))), &deployment); err != nil {
			t.Fatal(err)
		}
		container := deployment.Spec.Template.Spec.Containers[0]
		total := int64(0)
		for _, exposed := range container.Ports {
			i := slices.IndexFunc(program.ports, func(p port) bool { return p.name == exposed.Name })
			if i < 0 {
				t.Errorf("%s: nothing is known of the port %s", name, exposed.Name)
				continue
			}
			b := program.ports[i].bounds
			total += b.WorstCase()
			row := fmt.Sprintf("| %s %#q | %d | %d KiB | %d MiB | %d MiB |", name, exposed.Name, b.Connections,
				(b.Rest+b.Own)>>10, b.Shared/mebi, up(b.WorstCase()))
			if !strings.Contains(model, row+"\n") {
				t.Errorf("docs/threat-model.md lacks the row\n%s", row)
			}
		}
		if len(container.Ports) != len(program.ports) {
			t.Errorf("%s: %d ports, of which %d are known", name, len(container.Ports), len(program.ports))
		}
		needs, limit := program.needs, container.Resources.Limits.Memory().Value()
		if needs == 0 {
			needs = measured(t, name)
		}
		row := fmt.Sprintf("| %s | %d MiB | %d MiB |", name, up(total), limit/mebi)
		if !strings.Contains(model, row+"\n") {
			t.Errorf("docs/threat-model.md lacks the row\n%s", row)
		}
		// Above that, the garbage collector would run all the time.
		if worst := total + int64(needs*mebi); worst >= limit/10*9 {
			t.Errorf("%s: %d MiB in the worst case, and the limit is %d MiB", name, worst/mebi, limit/mebi)
		}
	}
}

func up(bytes int64) int64 { return (bytes + mebi - 1) / mebi }

// measured returns the most memory that a program takes with up to 100,000 keys, in MiB.
func measured(t *testing.T, program string) float64 {
	t.Helper()
	type taken struct{ Peak float64 }
	var all []struct {
		Keys                 int
		Verifier, Controller taken
	}
	if err := json.Unmarshal([]byte(read(t, "docs", "scale.json")), &all); err != nil {
		t.Fatal(err)
	}
	most := 0.0
	for _, one := range all {
		if one.Keys <= 100_000 {
			most = max(most, map[string]float64{"verifier": one.Verifier.Peak, "controller": one.Controller.Peak}[program])
		}
	}
	if most < 10 {
		t.Fatalf("docs/scale.json has no %s with up to 100,000 keys", program)
	}
	return most
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{controlplane.Root()}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
