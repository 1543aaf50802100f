package architecture_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMap checks that each folder with Go files below internal/test, and each folder of hack, is in the test map, and
// that the map names no other.
func TestMap(t *testing.T) {
	files := tree(t)
	described := map[string]bool{}
	for _, cells := range rows(section(t, contributing, "### The test map")) {
		for _, match := range code.FindAllStringSubmatch(cells[0], -1) {
			if name := match[1]; strings.HasPrefix(name, "internal/test/") || strings.HasPrefix(name, "hack/") {
				described[name] = true
				checkTable(t, name, len(cells))
			}
		}
	}
	folders := packages(files, "internal")
	folders = slices.DeleteFunc(folders, func(name string) bool { return !strings.HasPrefix(name, "internal/test/") })
	if len(folders) < 25 {
		t.Errorf("only %d folders found", len(folders))
	}
	for _, name := range folders {
		checkKind(t, files, name)
	}
	folders = append(folders, below(t, "hack", "hack/tools", "hack/suites")...)
	for _, name := range folders {
		if !described[name] {
			t.Errorf("%s: %s is not in the test map", contributing, name)
		}
	}
}

const (
	harness = "internal/test/harness/"
	suites  = "internal/test/suites/"
)

// checkTable checks that a folder of internal/test exists, and that it stands in the table of its kind: that of suites
// has a third column, which says how long they take.
func checkTable(t *testing.T, name string, columns int) {
	t.Helper()
	if !strings.HasPrefix(name, "internal/test/") {
		return
	}
	if !exists(name) || strings.HasPrefix(name, suites) != (columns == 3) {
		t.Errorf("%s: %s is in the wrong table, or is not there", contributing, name)
	}
}

// below returns the folders directly below a folder. Of those that are listed as well, it returns the folders below
// them instead.
func below(t *testing.T, folder string, sorted ...string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, folder))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := folder + "/" + entry.Name()
		switch {
		case slices.Contains(sorted, name):
			all = append(all, below(t, name)...)
		case entry.IsDir():
			all = append(all, name)
		}
	}
	return all
}

// checkKind checks that a folder of the harness has code to import, and that a suite has tests and nothing to import.
func checkKind(t *testing.T, files []file, name string) {
	t.Helper()
	var tests, helps bool
	for _, f := range files {
		if path.Dir(f.path) != name || path.Ext(f.path) != ".go" || path.Base(f.path) == "doc.go" {
			continue
		}
		isTest := strings.HasSuffix(f.path, "_test.go")
		tests = tests || isTest && strings.Contains(f.text, "\nfunc Test")
		helps = helps || !isTest
	}
	switch {
	case strings.HasPrefix(name, harness) && helps:
	case strings.HasPrefix(name, suites) && tests && !helps:
	default:
		t.Errorf("%s: helpers are below %s, and suites, which have nothing but tests, are below %s", name, harness, suites)
	}
}

// TestHarnessIsForTests checks that no program and no library of the product imports the harness.
func TestHarnessIsForTests(t *testing.T) {
	for _, edge := range importsOf(t, tree(t)) {
		importer, imported := edge[0]+"/", edge[1]+"/"
		if strings.HasPrefix(imported, harness) && !strings.HasPrefix(importer, harness) &&
			!strings.HasPrefix(importer, "hack/") {
			t.Errorf("%s imports %s, which is for tests and tools", edge[0], edge[1])
		}
	}
}

// TestGinkgo checks that the packages that use Ginkgo are those that the page names, and that each starts a control
// plane for its specs to share: everything else is plain testing.
func TestGinkgo(t *testing.T) {
	named := map[string]bool{}
	ginkgo, _, _ := strings.Cut(section(t, contributing, "#### Ginkgo or plain testing"), "**Plain")
	for _, match := range code.FindAllStringSubmatch(ginkgo, -1) {
		named[match[1]] = true
	}
	uses, starts := map[string]bool{}, map[string]bool{}
	for _, f := range tree(t) {
		folder := path.Dir(f.path)
		if strings.HasPrefix(folder, suites+"architecture") {
			continue // It names what it looks for.
		}
		uses[folder] = uses[folder] || strings.Contains(f.text, "\"github.com/onsi/ginkgo/v2\"")
		starts[folder] = starts[folder] || strings.Contains(f.text, "BeforeSuite(") &&
			strings.Contains(f.text, "controlplane."+"Start(") // In two parts, as this package starts none.
	}
	for folder := range uses {
		if uses[folder] != named[folder] {
			t.Errorf("%s: Ginkgo in %s: %t, and the page names it: %t", contributing, folder, uses[folder], named[folder])
		}
		if uses[folder] && !starts[folder] {
			t.Errorf("%s uses Ginkgo and starts no control plane for its specs: use plain testing", folder)
		}
	}
	if len(named) < 8 {
		t.Errorf("only %d packages found", len(named))
	}
}

var (
	// inTree matches a path of the tree: it begins with a folder of the top.
	inTree = regexp.MustCompile(`^(api|cmd|config|controllers|docs|hack|internal)(/[\w.-]+)*$`)
	// declaration matches a package's folder and a name that it declares, exported or a test.
	declaration = regexp.MustCompile(`^((?:api|cmd|controllers|hack|internal)(?:/[a-z0-9-]+)+)\.([A-Z]\w+)$`)
)

// TestPlaces checks that each path and each name that the pages for developers mention as code is in the tree.
func TestPlaces(t *testing.T) {
	files := tree(t)
	found := 0
	for _, page := range []string{architecture, contributing, "docs/development.md"} {
		for _, match := range code.FindAllStringSubmatch(prose(t, page), -1) {
			name := match[1]
			if names := declaration.FindStringSubmatch(name); names != nil {
				found++
				if !declares(files, names[1], names[2]) {
					t.Errorf("%s: %s declares no %s", page, names[1], names[2])
				}
			} else if inTree.MatchString(name) {
				found++
				if !exists(name) {
					t.Errorf("%s: there is no %s", page, name)
				}
			}
		}
	}
	if found < 150 {
		t.Errorf("only %d places found", found)
	}
}

// declares reports whether a folder has a Go file that declares a function, a type or a method of a name.
func declares(files []file, folder, name string) bool {
	pattern := regexp.MustCompile(`(?m)^(func|type) (\([^)]*\) )?` + name + `\b`)
	return slices.ContainsFunc(files, func(f file) bool {
		return path.Dir(f.path) == folder && path.Ext(f.path) == ".go" && pattern.MatchString(f.text)
	})
}

// TestNotBefore checks that the example of how to add a field names every file of the product, and of its manifests,
// that reads or writes spec.expiry: a similar field touches the same files.
func TestNotBefore(t *testing.T) {
	list := section(t, contributing, "### A spec field")
	for _, f := range tree(t) {
		product := strings.HasPrefix(f.path, "api/") || strings.HasPrefix(f.path, "internal/") &&
			!strings.HasPrefix(f.path, "internal/test/") ||
			strings.HasPrefix(f.path, "cmd/") || strings.HasPrefix(f.path, "controllers/") ||
			strings.HasPrefix(f.path, "config/policy/")
		if !product || strings.HasSuffix(f.path, "_test.go") || strings.HasSuffix(f.path, ".deepcopy.go") ||
			!touchesExpiry.MatchString(f.text) {
			continue
		}
		if folder := path.Dir(f.path); !strings.Contains(list, "`"+f.path+"`") && !strings.Contains(list, "`"+folder+"`") &&
			!strings.Contains(list, "`"+folder+"/") {
			t.Errorf("%s reads or writes spec.expiry, and %q names nothing of %s", f.path, "How to add a spec field", folder)
		}
	}
}

// touchesExpiry matches code, CEL or scripts that read or write spec.expiry.
var touchesExpiry = regexp.MustCompile(`\bSpec\.Expiry\b|\bspec\.expiry\b|object\.spec\.expiry`)
