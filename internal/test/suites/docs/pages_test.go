// Package docs_test checks that the documentation is true: every example is applied and every command run on a real
// control plane, every field, condition, reason and flag is in its page, and every link leads somewhere.
//
// internal/test/harness/pages says how a page tells who runs a block of it, and what only these tests read.
package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
)

// proxyGuides are the pages of docs/guides. What they show is for other programs than Kubernetes: hack/suites/guides
// and internal/test/suites/bypass see what those make of it.
func proxyGuides(t *testing.T) []pages.Page {
	t.Helper()
	var all []pages.Page
	for _, name := range pages.Glob(t, "docs/guides/*.md") {
		all = append(all, pages.Read(t, name))
	}
	return all
}

// TestExamplesAreFiles checks that what the guides show is what docs/examples has, and the other way round.
func TestExamplesAreFiles(t *testing.T) {
	files := map[string]string{} // by content
	for _, name := range pages.Glob(t, "docs/examples/*.yaml") {
		content, err := os.ReadFile(filepath.Join(controlplane.Root(), name))
		if err != nil {
			t.Fatal(err)
		}
		files[string(content)] = name
	}
	shown := map[string]bool{}
	for _, p := range pages.Guides(t) {
		for _, b := range p.Blocks {
			if b.Language != "yaml" {
				continue
			}
			if files[b.Text] == "" {
				t.Errorf("%s: no file in docs/examples has this text", b)
			}
			shown[files[b.Text]] = true
		}
	}
	for _, name := range files {
		if !shown[name] {
			t.Errorf("%s is in no page, or there with another text", name)
		}
	}
}

// TestGuidesShowTheirFiles checks that what a guide shows is a file in the folder of its name, that no file there is
// without mention, and that nothing in a guide looks as if it were run.
func TestGuidesShowTheirFiles(t *testing.T) {
	shown := 0
	for _, p := range proxyGuides(t) {
		files := map[string]string{} // by content
		folder := strings.TrimSuffix(p.Name, ".md")
		if filepath.Base(folder) != "README" {
			for _, name := range pages.Glob(t, folder+"/*") {
				content, err := os.ReadFile(filepath.Join(controlplane.Root(), name))
				if err != nil {
					t.Fatal(err)
				}
				files[string(content)] = name
				if link := "](" + filepath.Base(folder) + "/" + filepath.Base(name) + ")"; !strings.Contains(p.Prose, link) {
					t.Errorf("%s has no link to %s", p.Name, name)
				}
			}
		}
		for _, b := range p.Blocks {
			switch b.Language {
			case "console", "text":
			case "sh", "test":
				t.Errorf("%s: nothing runs this", b)
			default:
				shown++
				if files[b.Text] == "" {
					t.Errorf("%s: no file in %s has this text", b, folder)
				}
			}
		}
	}
	if shown < 10 {
		t.Errorf("only %d blocks", shown)
	}
}

var verifierURL = regexp.MustCompile(`/(?:auth/[a-z]+|ext-authz)\b`)

// TestGuidesAskWhereTheVerifierAnswers checks that each URL of the verifier's in a guide is in the verifier's page.
func TestGuidesAskWhereTheVerifierAnswers(t *testing.T) {
	verifier := pages.Read(t, "docs/verifier.md")
	found := 0
	for _, name := range append(pages.Glob(t, "docs/guides/*.md"), pages.Glob(t, "docs/guides/*/*")...) {
		content, err := os.ReadFile(filepath.Join(controlplane.Root(), name))
		if err != nil {
			t.Fatal(err)
		}
		for _, url := range verifierURL.FindAllString(string(content), -1) {
			found++
			if !strings.Contains(verifier.Prose, "`"+url) {
				t.Errorf("%s: %s is no URL of the verifier's", name, url)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d URLs found", found)
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks checks that relative links lead to a file, and where they name a heading, to that.
func TestLinks(t *testing.T) {
	all := append(slices.Concat(pages.Run(t), proxyGuides(t)), pages.Read(t, "SECURITY.md"))
	for _, name := range pages.Glob(t, "docs/decisions/*.md") {
		all = append(all, pages.Read(t, name))
	}
	for _, p := range all {
		for _, match := range link.FindAllStringSubmatch(p.Prose, -1) {
			target := match[1]
			if strings.HasPrefix(target, "https://") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			path := p.Name
			if file != "" {
				path = filepath.Join(filepath.Dir(p.Name), file)
			}
			if _, err := os.Stat(filepath.Join(controlplane.Root(), path)); err != nil {
				t.Errorf("%s links to %s: %v", p.Name, target, err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(pages.Read(t, path)), anchor) {
				t.Errorf("%s links to %s: no such heading", p.Name, target)
			}
		}
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// anchors are what links may name in a page, as GitHub makes them of headings.
func anchors(p pages.Page) []string {
	var all []string
	for line := range strings.Lines(p.Prose) {
		if heading := strings.TrimLeft(line, "#"); heading != line && strings.HasPrefix(heading, " ") {
			anchor := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			all = append(all, strings.ReplaceAll(anchor, " ", "-"))
		}
	}
	return all
}
