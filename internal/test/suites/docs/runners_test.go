package docs_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
)

// TestEveryBlockHasARunner lists the blocks that nothing applies or runs, so that no block joins them unnoticed, and
// checks that the runners that pages name exist. Each runner checks by itself that it runs its blocks: see
// pages.Runner.
func TestEveryBlockHasARunner(t *testing.T) {
	exempt := map[string]string{}
	runners := map[string]int{}
	for _, p := range pages.Run(t) {
		for _, b := range p.Blocks {
			if b.Exempt != "" {
				exempt[p.Name+", "+b.Section] = b.Exempt
			} else if b.Language == "sh" || b.Language == "yaml" {
				runners[b.Runner]++
			}
		}
	}
	const inAll = ".ci/run runs make test-all, which has all of it"
	want := map[string]string{
		"README.md, Developing":  inAll,
		"docs/contributing.md, ": inAll,
		"docs/kubectl-apikey.md, Install": "krew is in no package registry; " +
			"internal/test/suites/plugin does by hand what it does",
		"docs/install.md, Helm": "it is in a registry; hack/suites/helm renders and installs the " +
			"chart of this checkout",
		"docs/quickstart.md, A cluster":        "it needs docker and kind",
		"docs/quickstart.md, The operator":     "it needs docker and kind; hack/suites/e2e does the same with its own node",
		"docs/quickstart.md, Where to go next": "it needs docker and kind",
		"docs/kubectl-apikey.md, ui":           "it serves until it is told to stop; internal/test/suites/plugin runs it",
	}
	if !maps.Equal(exempt, want) {
		t.Errorf("nobody runs %v, and only %v is known", exempt, want)
	}
	t.Logf("blocks by runner: %v", runners)
	for _, runner := range []string{pages.Docs, pages.E2E, pages.Kinds, pages.CI} {
		if runners[runner] == 0 {
			t.Errorf("no page names %s", runner)
		}
	}
}

var (
	makeTarget = regexp.MustCompile(`(?m)^make ([a-z0-9-]+)`)
	step       = regexp.MustCompile(`(?m)^step .*\bmake ([a-z0-9-]+)`)
)

// TestCIRuns checks that each make target of the blocks that .ci/run is named for is a step of it.
func TestCIRuns(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(controlplane.Root(), pages.CI))
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, match := range step.FindAllStringSubmatch(string(script), -1) {
		steps = append(steps, match[1])
	}
	for _, b := range pages.For(t, pages.CI).TakeAll("sh") {
		for _, match := range makeTarget.FindAllStringSubmatch(b.Text, -1) {
			if !slices.Contains(steps, match[1]) {
				t.Errorf("%s: make %s is no step of %s, which has %v", b, match[1], pages.CI, steps)
			}
		}
	}
}
