package architecture_test

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	// invariant matches an invariant's number where text or a test's name cites it.
	invariant = regexp.MustCompile(`\b([SL][1-9]\d?)\b|\bTest([SL][1-9]\d?)[A-Z]`)
	// namedTest matches a link whose text is a folder and a test in it.
	namedTest = regexp.MustCompile("\\[`([a-z0-9/-]+)\\.((?:Test|Fuzz)\\w+)`\\]\\(\\.\\./([^)]+)\\)")
)

// notBuilt maps an invariant without a test to a word that is in the API's types as soon as the invariant has something
// to hold.
var notBuilt = map[string]string{"S12": "RateLimit"}

// TestInvariants checks that every invariant that the tree cites is defined, that each definition names tests, and that
// those exist.
func TestInvariants(t *testing.T) {
	files := tree(t)
	defined := map[string]bool{}
	for _, cells := range rows(section(t, architecture, "## Invariants")) {
		if len(cells) != 3 || !invariant.MatchString(cells[0]) {
			t.Errorf("%s: %q is no row of an invariant", architecture, cells)
			continue
		}
		if defined[cells[0]] {
			t.Errorf("%s defines %s twice", architecture, cells[0])
		}
		defined[cells[0]] = true
		checkHeld(t, files, cells[0], cells[2])
	}
	cited := 0
	for _, f := range files {
		for _, match := range invariant.FindAllStringSubmatchIndex(f.text, -1) {
			number := f.text[max(match[2], match[4]):max(match[3], match[5])]
			cited++
			if !defined[number] {
				t.Errorf("%s:%d cites %s, which %s does not define", f.path, f.line(match[0]), number, architecture)
			}
		}
	}
	if len(defined) < 18 || cited < 80 {
		t.Errorf("only %d invariants and %d citations found", len(defined), cited)
	}
}

// checkHeld checks that a cell names tests that exist, at the place that it links to.
func checkHeld(t *testing.T, files []file, number, cell string) {
	t.Helper()
	if word := notBuilt[number]; word != "" {
		for _, f := range files {
			if strings.HasPrefix(f.path, "api/") && strings.Contains(f.text, word) {
				t.Errorf("%s has %s, so %s needs a test now", f.path, word, number)
			}
		}
		return
	}
	tests := namedTest.FindAllStringSubmatch(cell, -1)
	if len(tests) == 0 {
		t.Errorf("%s: no test holds %s", architecture, number)
	}
	for _, test := range tests {
		folder, name, link := test[1], test[2], test[3]
		if path.Dir(link) != folder || !exists(link) {
			t.Errorf("%s: the link of %s.%s leads to %s", architecture, folder, name, link)
		}
		if !declared(files, folder, name) {
			t.Errorf("%s: there is no test %s in %s", architecture, name, folder)
		}
	}
}

// declared reports whether a folder has a test of a name.
func declared(files []file, folder, name string) bool {
	for _, f := range files {
		if path.Dir(f.path) == folder && strings.HasSuffix(f.path, "_test.go") &&
			strings.Contains(f.text, "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
