package architecture_test

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var (
	code = regexp.MustCompile("`([^`\n]+)`")
	// folder matches the folder of a package.
	folder = regexp.MustCompile(`^(api|cmd|controllers|internal)/[a-z0-9/-]+$`)
)

// TestPackages checks that each package of the product is in the table of packages, and that those there exist.
func TestPackages(t *testing.T) {
	files := tree(t)
	named := map[string]bool{}
	for _, cells := range rows(section(t, architecture, "## Packages")) {
		for _, match := range code.FindAllStringSubmatch(cells[0], -1) {
			name := match[1]
			if !folder.MatchString(name) {
				continue
			}
			named[name] = true
			if !exists(name) {
				t.Errorf("%s: there is no package %s", architecture, name)
			}
			if cells[len(cells)-1] == "pure" {
				checkPure(t, files, name)
			}
		}
	}
	all := packages(files, "api", "cmd", "controllers", "internal")
	for _, name := range all {
		if name != "cmd" && !strings.HasPrefix(name, "internal/test/") && !named[name] {
			t.Errorf("%s: the package %s is not in the table", architecture, name)
		}
	}
	if len(all) < 70 || len(named) < 40 {
		t.Errorf("only %d packages and %d in the table found", len(all), len(named))
	}
}

// TestDiagram checks that each arrow of the diagram of packages is an import.
func TestDiagram(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, architecture))
	if err != nil {
		t.Fatal(err)
	}
	_, diagram, ok := strings.Cut(string(content), "```mermaid\nflowchart")
	diagram, _, _ = strings.Cut(diagram, "```")
	imports := importsOf(t, tree(t))
	boxes, arrows := map[string]string{}, 0
	for _, box := range box.FindAllStringSubmatch(diagram, -1) {
		boxes[box[1]] = box[2]
	}
	for line := range strings.Lines(box.ReplaceAllString(diagram, "$1")) {
		from, to, isArrow := strings.Cut(strings.TrimSpace(line), " --> ")
		if !isArrow {
			continue
		}
		arrows++
		if boxes[from] == "" || boxes[to] == "" {
			t.Errorf("%s: the arrow from %s to %s has an end without a box", architecture, from, to)
		} else if !slices.ContainsFunc(imports, func(edge [2]string) bool {
			return within(boxes[from], edge[0]) && within(boxes[to], edge[1])
		}) {
			t.Errorf("%s: %s imports nothing of %s", architecture, boxes[from], boxes[to])
		}
	}
	if !ok || arrows < 20 {
		t.Errorf("only %d arrows found", arrows)
	}
}

// box matches the name of a box of the diagram, and the folders that it stands for.
var box = regexp.MustCompile(`(\w+)\["([^"]+)"\]`)

// within reports whether a folder is one of those that a box stands for. One that ends in … stands for all below it.
func within(box, folder string) bool {
	return slices.ContainsFunc(strings.Split(box, ", "), func(name string) bool {
		if above, ok := strings.CutSuffix(name, "…"); ok {
			return strings.HasPrefix(folder, above)
		}
		return folder == name
	})
}

// importsOf returns the imports within this module: the importing folder and the imported one.
func importsOf(t *testing.T, files []file) (all [][2]string) {
	t.Helper()
	const module = "github.com/nexuscommerce/apikey-operator/"
	for _, f := range files {
		if !strings.HasSuffix(f.path, ".go") || strings.HasSuffix(f.path, "_test.go") || !strings.Contains(f.text, module) {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.path, f.text, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imported := range parsed.Imports {
			if name, ok := strings.CutPrefix(strings.Trim(imported.Path.Value, `"`), module); ok {
				all = append(all, [2]string{filepath.ToSlash(filepath.Dir(f.path)), name})
			}
		}
	}
	return all
}

// impure are imports by which a package reaches, or waits for, something outside of it.
var impure = []string{"context", "log", "net/http", "os", "github.com/go-logr/logr", "k8s.io/client-go",
	"sigs.k8s.io/controller-runtime"}

// checkPure checks that a package that is said to be pure imports nothing impure.
func checkPure(t *testing.T, files []file, name string) {
	t.Helper()
	for _, f := range files {
		if path.Dir(f.path) != name || path.Ext(f.path) != ".go" || strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.path, f.text, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imported := range parsed.Imports {
			value, err := strconv.Unquote(imported.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(impure, func(of string) bool { return value == of || strings.HasPrefix(value, of+"/") }) {
				t.Errorf("%s calls %s pure, and %s imports %s", architecture, name, f.path, value)
			}
		}
	}
}

// TestStatusFields checks that the page says who writes each field of each kind's status.
func TestStatusFields(t *testing.T) {
	documented := map[string]bool{}
	for _, cells := range rows(section(t, architecture, "### Status")) {
		kind, _, _ := strings.Cut(cells[0], " ")
		for _, match := range code.FindAllStringSubmatch(cells[0], -1) {
			documented[kind+" "+strings.TrimPrefix(match[1], "status.")] = true
		}
		if len(cells) != 4 || slices.Contains(cells, "") {
			t.Errorf("%s: the row %q does not say who writes it, how, and as which field manager", architecture, cells)
		}
	}
	found := 0
	names, err := filepath.Glob(filepath.Join(root, "config", "crd", "bases", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		kind, fields := statusFields(t, name)
		for _, field := range fields {
			found++
			if !documented[kind+" "+field] {
				t.Errorf("%s does not say who writes status.%s of %s", architecture, field, kind)
			}
			delete(documented, kind+" "+field)
		}
	}
	for field := range documented {
		t.Errorf("%s says who writes %s, which is no field of a status", architecture, field)
	}
	if found < 20 {
		t.Errorf("only %d fields found", found)
	}
}

// statusFields returns the kind of a CustomResourceDefinition, and the fields of its status.
func statusFields(t *testing.T, name string) (kind string, fields []string) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Names    struct{ Kind string }
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema struct {
						Properties struct {
							Status struct{ Properties map[string]json.RawMessage }
						}
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(content, &crd); err != nil {
		t.Fatal(err)
	}
	for field := range crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties.Status.Properties {
		fields = append(fields, field)
	}
	slices.Sort(fields)
	return crd.Spec.Names.Kind, fields
}
