// Package pages reads the documentation for the tests that apply its manifests and run its commands.
//
// Nothing in a page is skipped silently. Each block of yaml or sh has one runner: internal/test/suites/docs, on a
// control plane without pods, unless the line above the block names another. What a block needs that a reader has
// anyway is in a comment that only internal/test/suites/docs reads. A block that nothing can run says why.
//
//	<!-- run by: hack/suites/e2e -->
//	<!-- applied by: hack/suites/guides -->
//	<!-- not run: no registry has the program -->
//	<!-- test:
//	kubectl delete secret -n apikey-system apikey-root-1
//	-->
//
// What a make target writes into a page stands between two comments:
//
//	<!-- written by: make guides-table -->
//	<!-- end of what is written -->
package pages

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// languages are those of blocks. The tests know what to do with yaml and sh; the others are for reading.
var languages = []string{"yaml", "sh", "test", "console", "text", "nginx", "caddyfile", "haproxy", "lua", "mermaid"}

// The runners of blocks. A page names each but the first by its text.
const (
	// Docs has a control plane, the controller and a verifier, and no pods.
	Docs = ""
	// E2E has a real node.
	E2E = "hack/suites/e2e"
	// Kinds has a control plane that knows other projects' kinds too.
	Kinds = "hack/suites/guides"
	// CI is the script that runs everything.
	CI = ".ci/run"
)

// Block is a fenced block of a page, or a comment for the test.
type Block struct {
	// Page is the page's path in the repository, Section the heading of the second level above the block.
	Page, Section string
	Line          int
	Language      string
	Text          string
	// Runner is the runner that applies or runs it.
	Runner string
	// Exempt is why no runner does.
	Exempt string
}

func (b Block) String() string { return fmt.Sprintf("%s:%d", b.Page, b.Line) }

// Page is a page and what is in it.
type Page struct {
	// Name is its path in the repository.
	Name   string
	Text   string
	Blocks []Block
	// Prose is the text without its blocks.
	Prose string
}

// marker is the line above a block that says who runs it, or why nobody does.
var marker = regexp.MustCompile(`^<!-- (run by|applied by|not run|not applied): (.+) -->$`)

// written are the lines around what a make target writes into a page.
var written = regexp.MustCompile(`^<!-- (written by: make [a-z-]+|end of what is written) -->$`)

// verbs are what is done with blocks of a language, as markers say it.
var verbs = map[string]string{"yaml": "applied", "sh": "run"}

// Read reads a page of the repository.
func Read(t testing.TB, name string) Page {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(controlplane.Root(), name))
	if err != nil {
		t.Fatal(err)
	}
	p := Page{Name: name, Text: string(content)}
	var open *Block // the block that the line is in
	var prose strings.Builder
	section := ""
	var note []string // what the marker above says
	for i, line := range strings.Split(p.Text, "\n") {
		switch {
		case open != nil && (line == "```" && open.Language != "test" || line == "-->" && open.Language == "test"):
			p.Blocks = append(p.Blocks, *open)
			open = nil
		case open != nil:
			open.Text += line + "\n"
		case strings.HasPrefix(line, "```"):
			open = &Block{Page: name, Section: section, Line: i + 1, Language: line[3:]}
			open.mark(t, note)
			note = nil
		case line == "<!-- test:":
			open = &Block{Page: name, Section: section, Line: i + 1, Language: "test"}
		case marker.MatchString(line):
			note = marker.FindStringSubmatch(line)
		case written.MatchString(line):
		case strings.HasPrefix(line, "<!--"):
			t.Errorf("%s:%d: a comment of no kind that is known: %s", name, i+1, line)
		default:
			if note != nil {
				t.Errorf("%s:%d: what is %q?", name, i, note[0])
				note = nil
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
	p.Prose = prose.String()
	return p
}

// mark reads the marker above a block.
func (b *Block) mark(t testing.TB, note []string) {
	t.Helper()
	if !slices.Contains(languages, b.Language) {
		t.Errorf("%s: a block of language %q, which is none of %v", b, b.Language, languages)
	}
	if note == nil {
		return
	}
	verb := verbs[b.Language]
	switch what, text := note[1], note[2]; {
	case verb != "" && what == "not "+verb:
		b.Exempt = text
	case verb != "" && what == verb+" by" && slices.Contains([]string{E2E, Kinds, CI}, text):
		b.Runner = text
	default:
		t.Errorf("%s: %q says nothing of a block of language %q", b, note[0], b.Language)
	}
}

// Guides returns the pages of docs/, with the runbook last: it ends with uninstalling.
func Guides(t testing.TB) []Page {
	t.Helper()
	const last = "docs/runbook.md"
	var all []Page
	for _, name := range Glob(t, "docs/*.md") {
		if name != last {
			all = append(all, Read(t, name))
		}
	}
	return append(all, Read(t, last))
}

// Run returns the pages whose blocks are applied and run.
func Run(t testing.TB) []Page {
	t.Helper()
	return append([]Page{Read(t, "README.md")}, Guides(t)...)
}

// Glob returns paths in the repository, relative to it. There must be some.
func Glob(t testing.TB, pattern string) []string {
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

// released matches the flag of kubectl with the URL of a file that a release has.
var released = regexp.MustCompile(
	`-f https://github\.com/nexuscommerce/apikey-operator/releases/download/v\d+\.\d+\.\d+/([a-z]+)\.yaml`)

// FromCheckout returns commands with folders of config/ in place of the URLs of a release's files, which are made from
// these folders: make dist. Tests have no release.
func FromCheckout(commands string) string {
	folders := map[string]string{"install": "config/default", "crds": "config/crd"}
	return released.ReplaceAllStringFunc(commands, func(flag string) string {
		return "-k " + folders[released.FindStringSubmatch(flag)[1]]
	})
}

// QuickStart returns the README's three commands, FromCheckout.
func QuickStart(t testing.TB) []string {
	t.Helper()
	var commands []string
	for _, b := range Read(t, "README.md").Blocks {
		if strings.Contains(b.Section, "three commands") && b.Language == "sh" {
			commands = append(commands, strings.Split(strings.TrimSpace(FromCheckout(b.Text)), "\n")...)
		}
	}
	if len(commands) != 3 {
		t.Fatalf("%d commands: %q", len(commands), commands)
	}
	return commands
}

// Row returns the row of a page's tables that begins with a term, or nothing.
func (p Page) Row(term string) string {
	for line := range strings.Lines(p.Prose) {
		if strings.HasPrefix(line, "| `"+term+"` |") {
			return line
		}
	}
	return ""
}

// Mentions reports whether a page has a term as code.
func (p Page) Mentions(term string) bool { return strings.Contains(p.Prose, "`"+term+"`") }
