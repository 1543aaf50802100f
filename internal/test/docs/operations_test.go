package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/pages"
)

// TestEveryReasonHasARemedy checks that the page for troubles has each reason of a condition and of a refusal, with what it
// means and what to do.
func TestEveryReasonHasARemedy(t *testing.T) {
	p := pages.Read(t, "docs/troubleshooting.md")
	found := 0
	check := func(value string) {
		found++
		cells := strings.Split(p.Row(value), "|")
		if len(cells) != 5 || strings.TrimSpace(cells[2]) == "" || strings.TrimSpace(cells[3]) == "" {
			t.Errorf("%s: no row says what %s means and what to do", p.Name, value)
		}
	}
	constants(t, "api/v1alpha1", func(_, name, _, value string) {
		if strings.HasPrefix(name, "Reason") {
			check(value)
		}
	})
	constants(t, "internal/verify", func(_, _, typeName, value string) {
		if typeName == "Reason" {
			check(value)
		}
	})
	if found < 50 {
		t.Errorf("only %d reasons found", found)
	}
}

var testName = regexp.MustCompile("`([a-z/]+)\\.((?:Test|Fuzz)\\w+)`")

// TestEveryDefenceIsShown checks that each defence of the threat model names tests, and that those are there.
func TestEveryDefenceIsShown(t *testing.T) {
	p := pages.Read(t, "docs/threat-model.md")
	_, table, _ := strings.Cut(p.Prose, "## Defences\n")
	table, _, _ = strings.Cut(table, "\n## ")
	defences := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.Contains(line, "---") || strings.Contains(line, "shown by") {
			continue
		}
		defences++
		names := testName.FindAllStringSubmatch(cells[3], -1)
		if len(names) == 0 {
			t.Errorf("%s: no test shows the defence against%s", p.Name, cells[1])
		}
		for _, name := range names {
			if !declares(t, name[1], name[2]) {
				t.Errorf("%s: there is no test %s in %s", p.Name, name[2], name[1])
			}
		}
	}
	if defences < 15 {
		t.Errorf("only %d defences found", defences)
	}
}

// declares says whether a folder of the repository has a test of a name.
func declares(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(controlplane.Root(), folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
