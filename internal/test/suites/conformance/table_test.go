package conformance_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/gomodule"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
)

// page has the table, between the lines begin and end.
const (
	page  = "docs/guides/README.md"
	begin = "<!-- written by: make guides-table -->"
	end   = "<!-- end of what is written -->"
	// write is the environment variable that makes the test write the table.
	write = "WRITE_GUIDES_TABLE"
	// ran is the first row.
	ran = "version that was run"
)

// table has the cells by column and question.
type table map[string]map[string]string

// readTable returns the table of the page, and the text before it and behind it.
func readTable(t *testing.T) (found table, before, behind string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(controlplane.Root(), page))
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(content), begin+"\n")
	text, behind, closed := strings.Cut(rest, end+"\n")
	if !ok || !closed {
		t.Fatalf("%s has no table between %q and %q", page, begin, end)
	}
	found = table{}
	var titles []string
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		cells := split(line)
		switch {
		case i == 0:
			titles = cells
		case i > 1:
			for j, title := range titles {
				if j > 0 && j < len(cells) {
					found.set(title, cells[0], cells[j])
				}
			}
		}
	}
	return found, before, behind
}

// split returns the cells of a line.
func split(line string) []string {
	cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

func (all table) set(title, question, cell string) {
	if all[title] == nil {
		all[title] = map[string]string{}
	}
	all[title][question] = cell
}

// columns are those that the table has: all set-ups, and the gateways that have been asked.
func (all table) columns() []setUp {
	return slices.DeleteFunc(columns(), func(u setUp) bool { return u.isGateway() && len(all[u.title]) == 0 })
}

// String returns the table as the page has it.
func (all table) String() string {
	var text strings.Builder
	shown := all.columns()
	line := func(first string, cell func(u setUp) string) {
		text.WriteString("| " + first + " |")
		for _, u := range shown {
			text.WriteString(" " + cell(u) + " |")
		}
		text.WriteString("\n")
	}
	line("", func(u setUp) string { return u.title })
	text.WriteString("|---" + strings.Repeat("|---", len(shown)) + "|\n")
	for _, question := range questions() {
		line(question, func(u setUp) string { return all[u.title][question] })
	}
	return text.String()
}

// questions returns those of all rows, in order.
func questions() []string {
	all := []string{ran}
	for _, r := range rows() {
		all = append(all, r.question)
	}
	return all
}

// check compares the columns that were tested with those of the page, or writes the page.
func (all table) check(t *testing.T) {
	t.Helper()
	found, before, behind := readTable(t)
	if os.Getenv(write) != "" {
		maps.Copy(found, all)
		text := before + begin + "\n\n" + found.String() + "\n" + end + "\n" + behind
		if err := os.WriteFile(filepath.Join(controlplane.Root(), page), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for title, cells := range all {
		if of := found[title][ran]; of != cells[ran] {
			t.Logf("%s: the table is about version %s, and not compared with what %s does", title, of, cells[ran])
			continue
		}
		for _, question := range questions() {
			if was, is := found[title][question], cells[question]; was != is {
				t.Errorf("%s, %s: %q, but the table in %s has %q: make guides-table", title, question, is, page, was)
			}
		}
	}
}

// TestTable checks that the page has a column for each set-up, and a row for each question.
func TestTable(t *testing.T) {
	found, _, _ := readTable(t)
	twice := map[string]bool{}
	for _, question := range questions() {
		if twice[question] {
			t.Errorf("%q is asked twice", question)
		}
		twice[question] = true
	}
	for _, u := range found.columns() {
		for _, question := range questions() {
			if found[u.title][question] == "" {
				t.Errorf("%s: there is no answer to %q for %s", page, question, u.title)
			}
		}
		if n := len(found[u.title]); n > len(questions()) {
			t.Errorf("%s: %d rows for %s, and %d questions", page, n, u.title, len(questions()))
		}
	}
}

// TestPagesSayWhatWasRun checks that each guide names the version that it was run with before all else, or says that it
// wasn't run, and that what its proxy cannot do stands in a box.
func TestPagesSayWhatWasRun(t *testing.T) {
	found, _, _ := readTable(t)
	versions := map[string]string{
		"docs/guides/contour.md":       strings.TrimPrefix(gomodule.Contour.Version, "v"),
		"docs/guides/envoy-gateway.md": strings.TrimPrefix(gomodule.EnvoyGateway.Version, "v"),
	}
	for _, u := range setUps {
		versions[u.guide()] = found[u.title][ran]
	}
	for _, guide := range pages.Glob(t, "docs/guides/*.md") {
		if filepath.Base(guide) == "README.md" {
			continue
		}
		content, err := os.ReadFile(filepath.Join(controlplane.Root(), guide))
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		_, rest, _ := strings.Cut(text, "\n\n")
		first, _, _ := strings.Cut(rest, "\n\n")
		version, run := versions[guide]
		switch {
		case !run && !strings.HasPrefix(first, "**Checked by schema, not run**"):
			t.Errorf("%s does not say on its first line that it was not run", guide)
		case run && (version == "" || !strings.Contains(first, version)):
			t.Errorf("%s does not begin with the version that was run, %q", guide, version)
		}
		if !strings.Contains(text, "\n## What it cannot do\n\n> [!IMPORTANT]\n> - ") {
			t.Errorf("%s has no box with what cannot be done", guide)
		}
	}
}
