package architecture_test

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

// elsewhere are ways of referring to a document that a reader of the clone does not have.
var elsewhere = regexp.MustCompile(`(?i)\b(?:the|this) (?:design|contract|brief)(?: document)?` +
	`(?:'s|,? \(?section| (?:says?|has it|asks?|names?|promises|wants?)\b)` +
	`|\bissue #?\d+\b|§ ?\d`)

var (
	pageName = regexp.MustCompile(`(?:^|[^%\w./-])([\w./-]*\w\.md)\b`)
	numbered = regexp.MustCompile(`(?i)\bsections? \d+`)
	standard = regexp.MustCompile(`\b(?:RFC|ECMA|KEP)[- ]?\d`)
)

// others are parts of the names of other projects' pages that the tree mentions.
var others = []string{"git.k8s.io/", "CHANGELOG-1.", "docs/content/en/"}

// TestReferences checks that no file refers to a document that is neither in the tree nor a published standard.
func TestReferences(t *testing.T) {
	files := tree(t)
	names := map[string]bool{}
	for _, f := range files {
		names[path.Base(f.path)] = true
	}
	found := 0
	for _, f := range files {
		if strings.HasPrefix(f.path, "internal/test/suites/architecture/") {
			continue // It quotes what it looks for.
		}
		for _, at := range elsewhere.FindAllStringIndex(f.text, -1) {
			t.Errorf("%s:%d: %q refers to a document that is not in the tree: link to docs/architecture.md, or say what it says",
				f.path, f.line(at[0]), f.text[at[0]:at[1]])
		}
		for _, at := range pageName.FindAllStringSubmatchIndex(f.text, -1) {
			found++
			name := f.text[at[2]:at[3]]
			if !names[path.Base(name)] && !ofOthers(name) {
				t.Errorf("%s:%d names %s, which is not in the tree", f.path, f.line(at[2]), name)
			}
		}
		for _, at := range numbered.FindAllStringIndex(f.text, -1) {
			const near = 400
			if around := f.text[max(0, at[0]-near):min(len(f.text), at[1]+near)]; !standard.MatchString(around) {
				t.Errorf("%s:%d: %s of which document? Name the RFC beside it", f.path, f.line(at[0]), f.text[at[0]:at[1]])
			}
		}
	}
	if found < 300 {
		t.Errorf("only %d names of pages found", found)
	}
}

func ofOthers(name string) bool {
	for _, other := range others {
		if strings.Contains(name, other) {
			return true
		}
	}
	return false
}
