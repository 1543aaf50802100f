package memory_test

import (
	"encoding/json"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// said matches what a manifest's comment says of memory, over line breaks.
var said = regexp.MustCompile(`the request is for ([0-9,]+) keys \(([0-9,]+) MiB at the peak.*?` +
	`within the limit are ([0-9,]+) keys \(([0-9,]+) MiB\)`)

// TestCommentsSayWhatWasMeasured checks that the comments about memory in the Deployments have the figures of
// docs/scale.json, that the request and the limit are as the comments say, and that the chart has the same.
func TestCommentsSayWhatWasMeasured(t *testing.T) {
	var chart map[string]struct{ Resources corev1.ResourceRequirements }
	if err := yaml.Unmarshal([]byte(onlyPrograms(t)), &chart); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"verifier", "controller"} {
		text := read(t, "config", filepath.FromSlash(programs[program].manifest))
		var deployment appsv1.Deployment
		if err := yaml.Unmarshal([]byte(text), &deployment); err != nil {
			t.Fatal(err)
		}
		resources := deployment.Spec.Template.Spec.Containers[0].Resources
		if other := chart[program].Resources; !other.Requests.Memory().Equal(*resources.Requests.Memory()) ||
			!other.Limits.Memory().Equal(*resources.Limits.Memory()) {
			t.Errorf("%s: the chart's resources are %v, the manifest's %v", program, other, resources)
		}
		figures := said.FindStringSubmatch(strings.Join(strings.Fields(strings.ReplaceAll(text, "#", "")), " "))
		if figures == nil {
			t.Errorf("%s: the manifest's comment says nothing about memory", program)
			continue
		}
		for i, bound := range []float64{
			resources.Requests.Memory().AsApproximateFloat64(), resources.Limits.Memory().AsApproximateFloat64(),
		} {
			keys, mebibytes := number(t, figures[1+2*i]), number(t, figures[2+2*i])
			peak := peakAt(t, program, keys)
			if mebibytes != int(math.Round(peak)) {
				t.Errorf("%s: the comment says %d MiB for %d keys, docs/scale.json %.1f", program, mebibytes, keys, peak)
			}
			if peak*mebi > bound {
				t.Errorf("%s: %d keys take %.1f MiB, which is more than %.0f", program, keys, peak, bound/mebi)
			}
		}
	}
}

// onlyPrograms returns the chart's values without what is not about a program.
func onlyPrograms(t *testing.T) string {
	t.Helper()
	var values map[string]any
	if err := yaml.Unmarshal([]byte(read(t, "config", "chart", "values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(map[string]any{"controller": values["controller"], "verifier": values["verifier"]})
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.ReplaceAll(text, ",", ""))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// peakAt returns the most memory that a program took with a number of keys that was measured, in MiB.
func peakAt(t *testing.T, program string, keys int) float64 {
	t.Helper()
	var all []struct {
		Keys                 int
		Verifier, Controller struct{ Peak float64 }
	}
	if err := json.Unmarshal([]byte(read(t, "docs", "scale.json")), &all); err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if one.Keys == keys {
			return map[string]float64{"verifier": one.Verifier.Peak, "controller": one.Controller.Peak}[program]
		}
	}
	t.Fatalf("docs/scale.json has no %d keys", keys)
	return 0
}
