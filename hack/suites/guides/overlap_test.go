package guides_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// TestOverlapIsLongEnough checks the arithmetic of docs/pipelines.md with the durations of its examples: a token that
// is rotated arrives before the old one ends, even if each of push and pull fails twice.
func TestOverlapIsLongEnough(t *testing.T) {
	const use, tries = 15 * time.Minute, 3 // As the page has them.
	example := func(name string) string {
		return read(t, filepath.Join(controlplane.Root(), "docs", "examples", name))
	}
	var key struct {
		Spec struct {
			Rotation struct{ Every, Overlap string }
		}
	}
	var push, pull struct {
		Spec struct{ RefreshInterval string }
	}
	pushed := strings.Split(example("push-secret.yaml"), "\n---\n")
	for document, into := range map[string]any{
		pushed[0]: &key, pushed[1]: &push, example("pull-secret.yaml"): &pull,
	} {
		if err := yaml.Unmarshal([]byte(document), into); err != nil {
			t.Fatal(err)
		}
	}
	duration := func(text string) time.Duration {
		d, err := time.ParseDuration(text)
		if err != nil || d == 0 {
			t.Fatalf("%q: %v", text, err)
		}
		return d
	}
	overlap := duration(key.Spec.Rotation.Overlap)
	needed := tries*(duration(push.Spec.RefreshInterval)+duration(pull.Spec.RefreshInterval)) + use
	if overlap < needed {
		t.Errorf("the overlap of %s is shorter than the %s that a token may need to arrive", overlap, needed)
	}
	page := read(t, filepath.Join(controlplane.Root(), "docs", "pipelines.md"))
	if text := "3 × (push + pull) + use | 105 min"; needed != 105*time.Minute || !strings.Contains(page, text) {
		t.Errorf("the page says %q, and it is %s", text, needed)
	}
}
