package helm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
)

// released matches an image that has a registry and a version.
var released = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?/[a-z0-9/-]+:(v\d+\.\d+\.\d+)$`)

// repository is where the release workflow pushes the image.
const repository = "ghcr.io/nexuscommerce/apikey-operator"

// documented are the versions that pages name, by what names them.
type documented map[string]string

// images checks that every image in manifests has a registry and a version, and notes the version.
func (d documented) images(t *testing.T, what, manifests string) {
	t.Helper()
	found := 0
	for key, object := range objects(t, manifests) {
		for _, kind := range []string{"containers", "initContainers"} {
			containers, _, _ := unstructured.NestedSlice(object, "spec", "template", "spec", kind)
			for _, container := range containers {
				found++
				image, _ := container.(map[string]any)["image"].(string)
				if match := released.FindStringSubmatch(image); match == nil {
					t.Errorf("%s: %s has the image %s", what, key, image)
				} else {
					d[what+", "+key] = match[3]
				}
			}
		}
	}
	if found < 2 {
		t.Errorf("%s has %d images", what, found)
	}
}

// kustomized builds config/default with an image as a kustomization has it, or make dist.
func kustomized(t *testing.T, image map[string]any) string {
	t.Helper()
	folder := install.Kustomization(t, []string{"default"})
	path := filepath.Join(folder, "kustomization.yaml")
	content, err := yaml.Marshal(map[string]any{"images": []any{image}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append([]byte(read(t, folder, "kustomization.yaml")), content...), 0o600); err != nil {
		t.Fatal(err)
	}
	return run(t, kubectl(), "kustomize", folder)
}

// nested returns a field of an object.
func nested[T any](t *testing.T, object map[string]any, path ...string) T {
	t.Helper()
	value, _, _ := unstructured.NestedFieldNoCopy(object, path...)
	typed, ok := value.(T)
	if !ok {
		t.Fatalf("%v is %v", path, value)
	}
	return typed
}

// TestDocumentedInstalls renders each installation that the documentation has: every image has a registry and a
// version, and all pages name one version.
func TestDocumentedInstalls(t *testing.T) {
	versions := documented{}
	for _, page := range pages.Run(t) {
		for _, b := range page.Blocks {
			switch b.Language {
			case "sh":
				versions.commands(t, b)
			case "yaml":
				if strings.Contains(b.Text, "config/default") {
					versions.pipelines(t, b)
				}
			}
		}
	}
	folder := chart(t, "v0.2.0")
	versions.images(t, "the chart", run(t, helm(t), "template", "any", folder, "--set=console.enabled=true"))
	for what, version := range versions {
		if version != versions["README.md"] {
			t.Errorf("%s has version %q, and the README %q", what, version, versions["README.md"])
		}
	}
	g := NewWithT(t)
	for _, what := range []string{
		"README.md", "docs/install.md", "docs/quickstart.md", "docs/upgrade.md", "Application", "Kustomization",
	} {
		g.Expect(versions).To(HaveKey(HavePrefix(what)))
	}
	workflow := read(t, install.Config(".."), ".github/workflows/release.yaml")
	for _, line := range []string{ // What the URLs above have, and where the chart is.
		"IMAGE: ghcr.io/${{ github.repository }}", `make dist VERSION="$VERSION" IMAGE="${IMAGE,,}:$VERSION"`,
		"dist/install.yaml dist/crds.yaml", `push dist/apikey-operator-*.tgz "oci://${IMAGE,,}/charts"`,
	} {
		g.Expect(workflow).To(ContainSubstring(line))
	}
}

var (
	url     = regexp.MustCompile(`/nexuscommerce/apikey-operator/releases/download/(v[\d.]+)/(?:install|crds)\.yaml`)
	inOCI   = regexp.MustCompile(`oci://` + repository + `/charts/apikey-operator --version (\S+)`)
	inClone = regexp.MustCompile(`git clone --branch (\S+)`)
	overlay = regexp.MustCompile(`(?s)<<'END'\n(.*?config/default\n.*?)END\n`)
)

// commands looks for installations in commands.
func (d documented) commands(t *testing.T, b pages.Block) {
	t.Helper()
	for _, match := range url.FindAllStringSubmatch(b.Text, -1) {
		d[b.Page] = match[1]
		d.images(t, b.String(), kustomized(t, map[string]any{
			"name": "apikey-operator", "newName": repository, "newTag": match[1], // As make dist does it.
		}))
	}
	for _, match := range inOCI.FindAllStringSubmatch(b.Text, -1) {
		d[b.String()] = "v" + match[1]
	}
	for _, match := range inClone.FindAllStringSubmatch(b.Text, -1) {
		d[b.String()] = match[1]
	}
	for _, match := range overlay.FindAllStringSubmatch(b.Text, -1) {
		var kustomization map[string]any
		if err := yaml.Unmarshal([]byte(match[1]), &kustomization); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		image := nested[[]any](t, kustomization, "images")[0].(map[string]any)
		if text := fmt.Sprintf("%s:%s", image["newName"], image["newTag"]); !released.MatchString(text) {
			t.Errorf("%s: the overlay has the image %s", b, text)
		}
	}
	ofCheckout := strings.Contains(b.Section, "checkout") || strings.Contains(b.Text, "make image")
	if strings.Contains(b.Text, "apply --server-side -k config/default") && !ofCheckout {
		t.Errorf("%s installs an image that has no registry", b)
	}
}

// pipelines looks for Applications of Argo CD and Kustomizations of Flux that install this project.
func (d documented) pipelines(t *testing.T, b pages.Block) {
	t.Helper()
	for _, object := range objects(t, b.Text) {
		switch object["kind"] {
		case "Application":
			source := nested[map[string]any](t, object, "spec", "source")
			d["Application, "+b.String()] = nested[string](t, source, "targetRevision")
			name, image, _ := strings.Cut(nested[[]any](t, source, "kustomize", "images")[0].(string), "=")
			at := strings.LastIndex(image, ":")
			d.images(t, b.String(), kustomized(t, map[string]any{"name": name, "newName": image[:at], "newTag": image[at+1:]}))
		case "Kustomization":
			for _, image := range nested[[]any](t, object, "spec", "images") {
				d.images(t, b.String(), kustomized(t, image.(map[string]any)))
			}
		case "GitRepository":
			d["Kustomization, "+b.String()] = nested[string](t, object, "spec", "ref", "tag")
		}
	}
}
