package plugin_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// krewPlugin is what krew reads of a manifest.
type krewPlugin struct {
	APIVersion string
	Kind       string
	Metadata   struct{ Name string }
	Spec       struct {
		Version, ShortDescription, Description, Homepage string
		Platforms                                        []struct {
			URI, SHA256, Bin string
			Files            []struct{ From, To string }
			Selector         struct{ MatchLabels map[string]string }
		}
	}
}

// TestKrew builds the archive for this platform and its manifest, holds the manifest to what krew checks before it installs
// (validation.ValidatePlugin), and installs by hand as krew would.
func TestKrew(t *testing.T) {
	out := t.TempDir()
	const url = "https://example.com/releases/v1.2.3"
	platform := runtime.GOOS + "/" + runtime.GOARCH
	command := exec.CommandContext(t.Context(), filepath.Join(controlplane.Root(), "hack", "krew.sh"), out, "v1.2.3", url,
		"-s -w -X github.com/nexuscommerce/apikey-operator/internal/version.version=v1.2.3", platform)
	if printed, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	content, err := os.ReadFile(filepath.Join(out, "apikey.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var plugin krewPlugin
	if err := yaml.Unmarshal(content, &plugin); err != nil {
		t.Fatal(err)
	}
	spec := plugin.Spec
	if plugin.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || plugin.Kind != "Plugin" || plugin.Metadata.Name != "apikey" {
		t.Errorf("%+v", plugin)
	}
	if _, err := version.ParseSemantic(spec.Version); err != nil || !strings.HasPrefix(spec.Version, "v") {
		t.Errorf("version %s: %v", spec.Version, err)
	}
	if spec.ShortDescription == "" || len(spec.ShortDescription) > 50 || strings.Contains(spec.ShortDescription, "\n") || spec.Description == "" || spec.Homepage == "" {
		t.Errorf("%+v: krew's index wants a homepage, a description, and a short one of one line of at most 50 characters", spec)
	}
	if len(spec.Platforms) != 1 || len(spec.Platforms[0].Selector.MatchLabels) != 2 || spec.Platforms[0].Bin != "kubectl-apikey" {
		t.Fatalf("%+v", spec.Platforms)
	}
	p := spec.Platforms[0]
	name, ok := strings.CutPrefix(p.URI, url+"/")
	if !ok || !regexp.MustCompile(`^[a-f0-9]{64}$`).MatchString(p.SHA256) {
		t.Errorf("%s, %s", p.URI, p.SHA256)
	}
	archive, err := os.ReadFile(filepath.Join(out, name))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(archive); hex.EncodeToString(sum[:]) != p.SHA256 {
		t.Error("the archive has another digest")
	}
	installed := t.TempDir()
	unpack := exec.CommandContext(t.Context(), "tar", "-xzf", filepath.Join(out, name), "-C", installed)
	if printed, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	for _, file := range p.Files {
		if _, err := os.Stat(filepath.Join(installed, file.From)); err != nil || file.To == "" {
			t.Errorf("%+v: %v", file, err)
		}
	}
	printed, err := exec.CommandContext(t.Context(), filepath.Join(installed, p.Bin), "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(printed), "v1.2.3") {
		t.Errorf("%v: %s", err, printed)
	}
}
