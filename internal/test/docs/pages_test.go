// Package docs_test holds the documentation to what it says: every example is applied and every command run on a real
// control plane, every field, condition, reason and flag is in its page, and every link leads somewhere.
//
// Nothing in a page is skipped silently. A block is of one of the languages below; one that can't be applied or run says
// why in the line above it, and what a block needs that a reader has anyway is in a comment that only this test reads:
//
//	<!-- not applied: the kind comes with a Service Binding runtime -->
//	<!-- not run: the controller is no pod there -->
//	<!-- test:
//	kubectl delete secret -n apikey-system apikey-root-1
//	-->
package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/controlplane"
)

// languages are those of blocks. Of yaml and sh blocks this test knows what to do with them; the others are for reading.
var languages = []string{"yaml", "sh", "test", "console", "text", "nginx", "caddyfile", "haproxy", "lua"}

// block is a fenced block of a page, or a comment for this test.
type block struct {
	page, section string
	line          int
	language      string
	text          string
	// exempt is why it isn't applied or run.
	exempt string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// page is a page and what is in it.
type page struct {
	// name is its path in the repository.
	name   string
	text   string
	blocks []block
	// prose is the text without its blocks.
	prose string
}

// readPage reads a page of the repository.
func readPage(t *testing.T, name string) page {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(controlplane.Root(), name))
	if err != nil {
		t.Fatal(err)
	}
	p := page{name: name, text: string(content)}
	var open *block // the block that the line is in
	var prose strings.Builder
	section, note := "", ""
	for i, line := range strings.Split(p.text, "\n") {
		switch {
		case open != nil && (line == "```" && open.language != "test" || line == "-->" && open.language == "test"):
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "```"):
			open = &block{page: name, section: section, line: i + 1, language: line[3:], exempt: note}
			note = ""
		case line == "<!-- test:":
			open = &block{page: name, section: section, line: i + 1, language: "test"}
		case strings.HasPrefix(line, "<!-- not "):
			note = strings.TrimSuffix(strings.TrimPrefix(line, "<!-- "), " -->")
		case strings.HasPrefix(line, "<!--"):
			t.Errorf("%s:%d: a comment of no kind that this test knows: %s", name, i+1, line)
		default:
			if note != "" {
				t.Errorf("%s:%d: what is %q?", name, i, note)
				note = ""
			}
			if heading, ok := strings.CutPrefix(line, "## "); ok {
				section = heading
			}
			prose.WriteString(line + "\n")
		}
	}
	if open != nil {
		t.Errorf("%s has no end", open)
	}
	p.prose = prose.String()
	for _, b := range p.blocks {
		allowed := map[string]string{"yaml": "not applied: ", "sh": "not run: "}[b.language]
		if !slices.Contains(languages, b.language) {
			t.Errorf("%s: a block of language %q, which is none of %v", b, b.language, languages)
		}
		if b.exempt != "" && (allowed == "" || !strings.HasPrefix(b.exempt, allowed)) {
			t.Errorf("%s: %q is no exemption of a block of language %q", b, b.exempt, b.language)
		}
	}
	return p
}

// guides are the pages of docs/, with the runbook last: it ends with uninstalling.
func guides(t *testing.T) []page {
	t.Helper()
	const last = "docs/runbook.md"
	var pages []page
	for _, name := range glob(t, "docs/*.md") {
		if name != last {
			pages = append(pages, readPage(t, name))
		}
	}
	return append(pages, readPage(t, last))
}

// proxyGuides are the pages of docs/guides. What they show is for other programs than Kubernetes: hack/guides and
// internal/test/bypass see what those make of it.
func proxyGuides(t *testing.T) []page {
	t.Helper()
	var pages []page
	for _, name := range glob(t, "docs/guides/*.md") {
		pages = append(pages, readPage(t, name))
	}
	return pages
}

// glob returns paths in the repository, relative to it. There must be some.
func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(controlplane.Root(), pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v, %v", pattern, paths, err)
	}
	for i := range paths {
		if paths[i], err = filepath.Rel(controlplane.Root(), paths[i]); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// TestExamplesAreFiles checks that what the guides show is what docs/examples has, and the other way round.
func TestExamplesAreFiles(t *testing.T) {
	files := map[string]string{} // by content
	for _, name := range glob(t, "docs/examples/*.yaml") {
		content, err := os.ReadFile(filepath.Join(controlplane.Root(), name))
		if err != nil {
			t.Fatal(err)
		}
		files[string(content)] = name
	}
	shown := map[string]bool{}
	for _, p := range guides(t) {
		for _, b := range p.blocks {
			if b.language != "yaml" {
				continue
			}
			if files[b.text] == "" {
				t.Errorf("%s: no file in docs/examples has this text", b)
			}
			shown[files[b.text]] = true
		}
	}
	for _, name := range files {
		if !shown[name] {
			t.Errorf("%s is in no page, or there with another text", name)
		}
	}
}

// TestGuidesShowTheirFiles checks that what a guide shows is a file in the folder of its name, that no file there is without
// mention, and that nothing in a guide looks as if it were run.
func TestGuidesShowTheirFiles(t *testing.T) {
	shown := 0
	for _, p := range proxyGuides(t) {
		files := map[string]string{} // by content
		folder := strings.TrimSuffix(p.name, ".md")
		if filepath.Base(folder) != "README" {
			for _, name := range glob(t, folder+"/*") {
				content, err := os.ReadFile(filepath.Join(controlplane.Root(), name))
				if err != nil {
					t.Fatal(err)
				}
				files[string(content)] = name
				if link := "](" + filepath.Base(folder) + "/" + filepath.Base(name) + ")"; !strings.Contains(p.prose, link) {
					t.Errorf("%s has no link to %s", p.name, name)
				}
			}
		}
		for _, b := range p.blocks {
			switch b.language {
			case "console", "text":
			case "sh", "test":
				t.Errorf("%s: nothing runs this", b)
			default:
				shown++
				if files[b.text] == "" {
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
	verifier := readPage(t, "docs/verifier.md")
	found := 0
	for _, name := range append(glob(t, "docs/guides/*.md"), glob(t, "docs/guides/*/*")...) {
		content, err := os.ReadFile(filepath.Join(controlplane.Root(), name))
		if err != nil {
			t.Fatal(err)
		}
		for _, url := range verifierURL.FindAllString(string(content), -1) {
			found++
			if !strings.Contains(verifier.prose, "`"+url) {
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
	pages := slices.Concat(guides(t), proxyGuides(t), []page{readPage(t, "README.md")})
	for _, name := range glob(t, "docs/decisions/*.md") {
		pages = append(pages, readPage(t, name))
	}
	for _, p := range pages {
		for _, match := range link.FindAllStringSubmatch(p.prose, -1) {
			target := match[1]
			if strings.HasPrefix(target, "https://") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			path := p.name
			if file != "" {
				path = filepath.Join(filepath.Dir(p.name), file)
			}
			if _, err := os.Stat(filepath.Join(controlplane.Root(), path)); err != nil {
				t.Errorf("%s links to %s: %v", p.name, target, err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(readPage(t, path)), anchor) {
				t.Errorf("%s links to %s: no such heading", p.name, target)
			}
		}
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// anchors are what links may name in a page, as GitHub makes them of headings.
func anchors(p page) []string {
	var all []string
	for line := range strings.Lines(p.prose) {
		if heading := strings.TrimLeft(line, "#"); heading != line && strings.HasPrefix(heading, " ") {
			anchor := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			all = append(all, strings.ReplaceAll(anchor, " ", "-"))
		}
	}
	return all
}
