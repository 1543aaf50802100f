package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
)

// TestEveryReasonHasARemedy checks that docs/troubleshooting.md has each reason of a condition and of a refusal, and
// that it and the pages of the kinds say the same about each as the table in internal/keys, which the command line and
// the settings page use too. A page may add to that.
func TestEveryReasonHasARemedy(t *testing.T) {
	rows := map[string]int{}
	reasons := map[string]keys.Reason{}
	for _, reason := range keys.Reasons() {
		reasons[reason.Name] = reason
	}
	for _, name := range []string{"troubleshooting", "apikey", "tenant", "accesspolicy"} {
		p := pages.Read(t, "docs/"+name+".md")
		var head []string // of the table that the line is in
		for line := range strings.Lines(p.Prose) {
			cells := strings.Split(strings.TrimSpace(line), "|")
			for i := range cells {
				cells[i] = plain(cells[i])
			}
			switch {
			case len(cells) < 4:
				head = nil
			case cells[1] == "reason":
				head = cells
			case head != nil && slices.Contains(head, "means") && !strings.HasPrefix(cells[1], "---"):
				reason, known := reasons[cells[1]]
				if !known || len(cells) != len(head) {
					t.Errorf("%s: %q is no reason, or has another number of cells than the table", p.Name, cells[1])
					continue
				}
				rows[name+" "+reason.Name]++
				compareReason(t, p.Name, reason, cells[slices.Index(head, "means")], cells[slices.Index(head, "what to do")])
			}
		}
	}
	for name := range reasons {
		if n := rows["troubleshooting "+name]; n != 1 {
			t.Errorf("docs/troubleshooting.md has %d rows for %s", n, name)
		}
	}
	if len(rows) < 80 {
		t.Errorf("only %d rows found", len(rows))
	}
}

// compareReason compares a row of a page with the table of reasons.
func compareReason(t *testing.T, page string, reason keys.Reason, means, do string) {
	t.Helper()
	if !strings.HasPrefix(means, reason.Means) {
		t.Errorf("%s: %s means %q, and the table in internal/keys says %q", page, reason.Name, means, reason.Means)
	}
	if reason.Do == "Nothing." {
		if do != "" && !strings.HasPrefix(do, "Nothing") {
			t.Errorf("%s: %s has %q to do, and the table in internal/keys nothing", page, reason.Name, do)
		}
		return
	}
	if !strings.HasPrefix(do, reason.Do) {
		t.Errorf("%s: what to do about %s is %q, and the table in internal/keys says %q", page, reason.Name, do, reason.Do)
	}
}

var linked = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)

// plain returns the text of a cell without the markup of links and code.
func plain(cell string) string {
	return strings.TrimSpace(strings.ReplaceAll(linked.ReplaceAllString(cell, "$1"), "`", ""))
}

var testName = regexp.MustCompile("`([a-z/]+)\\.((?:Test|Fuzz)\\w+)`")

// TestEveryDefenceIsShown checks that each defence of the threat model names tests, and that these exist.
func TestEveryDefenceIsShown(t *testing.T) {
	p := pages.Read(t, "docs/threat-model.md")
	_, table, _ := strings.Cut(p.Prose, "## Defences\n")
	table, _, _ = strings.Cut(table, "\n## ")
	defences := 0
	attacks := map[string]bool{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.Contains(line, "---") || strings.Contains(line, "shown by") {
			continue
		}
		defences++
		if attacks[cells[1]] {
			t.Errorf("%s: two rows are about%s", p.Name, cells[1])
		}
		attacks[cells[1]] = true
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

// declares reports whether a folder of the repository has a test of a name.
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
