package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/nexuscommerce/apikey-operator/hack/tools/fetch/programs"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// row is a line of the table that is printed before anything is compiled.
type row struct {
	name string
	// found is the path of the program; blank if it is missing.
	found string
	// way is how it will be brought if no Debian package is installed; blank if it can't be.
	way string
	// packages are the Debian packages that will be installed for it.
	packages string
	// how says how a person installs it.
	how string
	// without is what is not covered without it.
	without string
}

// brought reports whether it will be brought.
func (r row) brought() bool { return r.found == "" && (r.packages != "" || r.way != "") }

// where returns the second column.
func (r row) where() string {
	switch {
	case r.found != "":
		return r.found
	case r.packages != "":
		return "will be installed (Debian: " + r.packages + ")"
	case r.way != "":
		return "will be " + r.way
	default:
		return "MISSING: " + r.how
	}
}

// machine decides how a missing program can be brought.
type machine struct {
	// debian is set for root on Debian, who may install packages.
	debian bool
	// look finds an item.
	look func(need.Item) (string, error)
	// top is the folder of the checkout.
	top string
	// assets is the user's own KUBEBUILDER_ASSETS, if set. Nothing is built to complete it.
	assets string
	// nightly is set for the run that brings what takes minutes to compile.
	nightly bool
}

// way returns how a missing item will be brought if Debian does not have it.
func (m machine) way(item need.Item) string {
	fetched, err := programs.Find(item.Name)
	switch {
	case item.Name == axe:
		if _, err := m.look(need.Item{Name: "npm"}); err == nil {
			return "downloaded by npm, as hack/suites/browser/package-lock.json has it"
		}
	case item.Folder != "" && m.assets != "": // The user's own folder, to which nothing is added.
	case item.Nightly && !m.nightly:
	case err == nil && fetched[0].HowBrought() == "": // Not on this platform.
		return ""
	case err == nil:
		return "brought: " + fetched[0].HowBrought()
	case item.Target != "":
		return "built from Go modules (make " + item.Target + ")"
	}
	return ""
}

// axe is the item that npm brings.
const axe = "axe-core"

// missing returns a row that says how an item will be brought: as a Debian package if possible, because that takes
// seconds.
func (m machine) missing(r row, packages, way string) row {
	if r.found == "" && packages != "" && m.debian {
		r.packages = packages
	} else if r.found == "" {
		r.way = way
	}
	return r
}

// rows returns the lines for what tests in some folders need.
func (m machine) rows(folders []string) []row {
	var all []row
	for _, item := range need.All {
		if !slices.ContainsFunc(folders, item.UsedBy) {
			continue
		}
		r := row{name: item.Name, how: item.How(), without: item.Without}
		if path, err := m.look(item); err == nil {
			r.found = path
			if inside, below := strings.CutPrefix(path, m.top+string(filepath.Separator)); below && m.top != "" {
				r.found = inside
			}
		}
		packages, way := item.Debian, m.way(item)
		if item.Name == axe && way != "" {
			packages = "" // npm is there already.
		}
		all = append(all, m.missing(r, packages, way))
	}
	return all
}

// compilerRow returns the line of the C compiler, which the race detector needs and no test asks for.
func (m machine) compilerRow(found string) row {
	r := row{
		name: cCompiler, found: found, without: "data races",
		how: "apt-get install " + cPackages + ", and leave CGO_ENABLED alone",
	}
	return m.missing(r, cPackages, "")
}

const (
	cCompiler = "C compiler"
	cPackages = "gcc libc6-dev"
)

// printTable prints rows in columns.
func printTable(out io.Writer, rows []row) {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	line := func(columns ...string) { _, _ = fmt.Fprintln(w, strings.Join(columns, "\t")) }
	line("PROGRAM", "WHERE", "NOT COVERED WITHOUT IT")
	for _, r := range rows {
		line(r.name, r.where(), r.without)
	}
	_ = w.Flush() // To standard output: if this fails, nobody reads it.
}

// markdown returns the README's table: what is not covered without each program. Programs that belong together share a
// line.
func markdown() string {
	var text strings.Builder
	text.WriteString("| program | how to get it | not covered without it |\n|---|---|---|\n")
	line := func(names []string, how, without string) {
		fmt.Fprintf(&text, "| %s | %s | %s |\n", strings.Join(names, ", "), how, without)
	}
	var names []string
	for i, item := range need.All {
		names = append(names, item.Name)
		if i+1 < len(need.All) && need.All[i+1].How() == item.How() && need.All[i+1].Without == item.Without {
			continue
		}
		how, without := "`"+strings.ReplaceAll(item.How(), ", or ", "`, or `")+"`", item.Without
		if item.Hint != "" && item.Folder == "" {
			how = item.How()
		}
		switch {
		case item.Nightly && item.Target != "":
			how += ", which `make test-nightly` runs"
		case item.Target != "" || item.Folder != "":
			how += ", which the test command runs"
		}
		if slices.Equal(item.Users, []string{browser}) {
			without += " (`make test-all`)"
		}
		line(names, how, without)
		names = nil
	}
	line([]string{cCompiler}, "`apt-get install "+cPackages+"`", "data races")
	return text.String()
}
