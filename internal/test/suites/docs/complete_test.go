package docs_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// constants calls do with every string constant of a package, and the comment of its group.
func constants(t *testing.T, folder string, do func(group, name, typeName, value string)) {
	t.Helper()
	for _, name := range pages.Glob(t, folder+"/*.go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(controlplane.Root(), name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			declaration, ok := node.(*ast.GenDecl)
			if !ok || declaration.Tok != token.CONST {
				return true
			}
			for _, spec := range declaration.Specs {
				value, ok := spec.(*ast.ValueSpec)
				if !ok || len(value.Values) != 1 {
					continue
				}
				literal, ok := value.Values[0].(*ast.BasicLit)
				if !ok || literal.Kind != token.STRING {
					continue
				}
				text, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				typeName := ""
				if identifier, ok := value.Type.(*ast.Ident); ok {
					typeName = identifier.Name
				}
				do(declaration.Doc.Text(), value.Names[0].Name, typeName, text)
			}
			return false
		})
	}
}

// TestEveryCondition checks that each condition and reason is in the page of its kind.
func TestEveryCondition(t *testing.T) {
	apikey, tenant, accesspolicy := pages.Read(t, "docs/apikey.md"), pages.Read(t, "docs/tenant.md"), pages.Read(t,
		"docs/accesspolicy.md")
	found := 0
	constants(t, "api/v1alpha1", func(group, name, _, value string) {
		if !strings.HasPrefix(name, "Condition") && !strings.HasPrefix(name, "Reason") {
			return
		}
		found++
		p := apikey
		switch {
		case strings.Contains(group, "Tenant's"):
			p = tenant
		case strings.Contains(group, "AccessPolicy's"):
			p = accesspolicy
		}
		if p.Row(value) == "" {
			t.Errorf("%s: no table has a row for %s (%s)", p.Name, value, name)
		}
	})
	if found < 30 {
		t.Errorf("only %d conditions and reasons found", found)
	}
}

// inProse are the reasons that are not in the table of the decision's steps.
var inProse = []string{"anonymous", "proxy_misconfigured", "invalid_token", "tenant_required"}

// TestEveryDecision checks that each reason of the verifier's is in its page, with what the answer says about it.
func TestEveryDecision(t *testing.T) {
	p := pages.Read(t, "docs/verifier.md")
	rows := map[string][]string{} // cells, by reason
	for line := range strings.Lines(p.Prose) {
		if cells := strings.Split(line, "|"); len(cells) == 8 && strings.Contains(cells[3], "`") {
			reason := strings.Split(cells[3], "`")[1]
			rows[reason] = cells
		}
	}
	outcomes := map[string]verify.Outcome{"200": verify.Allow, "401": verify.Unauthorized, "403": verify.Forbidden}
	found := 0
	constants(t, "internal/verify", func(_, _, typeName, value string) {
		if typeName != "Reason" {
			return
		}
		found++
		if !p.Mentions(value) {
			t.Errorf("%s lacks the reason %s", p.Name, value)
		}
		cells := rows[value]
		if cells == nil {
			if !slices.Contains(inProse, value) {
				t.Errorf("%s: no row for the reason %s", p.Name, value)
			}
			return
		}
		outcome, ok := outcomes[strings.TrimSpace(cells[4])]
		if !ok {
			t.Errorf("%s: status %s", value, cells[4])
		}
		decision := verify.Decision{Outcome: outcome, Reason: verify.Reason(value)}
		if outcome == verify.Allow {
			return
		}
		failure := strings.Trim(strings.TrimSpace(cells[5]), "`")
		challenge := decision.Challenge("")
		if want := `Bearer realm="", error="` + failure + `"`; failure != "" && failure != "none" &&
			!strings.HasPrefix(challenge, want) ||
			failure == "none" && challenge != `Bearer realm=""` || failure == "" && challenge != "" {
			t.Errorf("%s: error %q in %s, and the challenge is %s", value, failure, p.Name, challenge)
		}
		var body struct{ Reason, Message string }
		if err := json.Unmarshal([]byte(decision.Body()), &body); err != nil {
			t.Fatal(err)
		}
		if message := strings.ReplaceAll(strings.TrimSpace(cells[6]), `\<`, "<"); message != body.Message {
			t.Errorf("%s: the message is %q, not %q", value, body.Message, message)
		}
		if !strings.Contains(cells[3], "`"+body.Reason+"`") {
			t.Errorf("%s: the body's reason is %s", value, body.Reason)
		}
	})
	if found < 20 || len(rows) < 20 {
		t.Errorf("only %d reasons and %d rows found", found, len(rows))
	}
}

// kind is the part of a CustomResourceDefinition that pages document.
type kind struct {
	Spec struct {
		Names    struct{ Kind string }
		Versions []struct {
			Schema struct {
				OpenAPIV3Schema schema
			}
			AdditionalPrinterColumns []struct{ Name string }
			SelectableFields         []struct{ JSONPath string }
		}
	}
}

// schema is what an OpenAPI schema says of a field.
type schema struct {
	Properties           map[string]*schema
	Items                *schema
	AdditionalProperties *schema
	Default              json.RawMessage
	Enum                 []json.RawMessage

	MaxItems, MaxLength, MaxProperties, Maximum, Minimum *int64

	Rules []struct{ Message string } `json:"x-kubernetes-validations"`
}

func kinds(t *testing.T) []kind {
	t.Helper()
	var all []kind
	for _, name := range pages.Glob(t, "config/crd/bases/*.yaml") {
		content, err := os.ReadFile(filepath.Join(controlplane.Root(), name))
		if err != nil {
			t.Fatal(err)
		}
		var k kind
		if content, err = yaml.ToJSON(content); err == nil {
			err = json.Unmarshal(content, &k)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	return all
}

// TestEveryField checks that each field has a row with the limits of its schema, and that the page has each message
// with which the API server refuses it.
func TestEveryField(t *testing.T) {
	for _, k := range kinds(t) {
		p := pages.Read(t, "docs/"+strings.ToLower(k.Spec.Names.Kind)+".md")
		version := k.Spec.Versions[0]
		fields := 0
		for _, part := range []string{"spec", "status"} {
			walk(part, version.Schema.OpenAPIV3Schema.Properties[part], func(path string, s *schema) {
				fields++
				checkField(t, p, path, s)
			})
		}
		if fields < 10 {
			t.Errorf("%s: only %d fields found", p.Name, fields)
		}
		for _, column := range version.AdditionalPrinterColumns {
			if p.Row(strings.ToUpper(column.Name)) == "" {
				t.Errorf("%s: no row for the column %s", p.Name, column.Name)
			}
		}
		for _, field := range version.SelectableFields {
			name := "`" + strings.TrimPrefix(field.JSONPath, ".") + "`"
			if !slices.ContainsFunc(strings.Split(p.Prose, "\n\n"), func(paragraph string) bool {
				return strings.Contains(paragraph, "ield selector") && strings.Contains(paragraph, name)
			}) {
				t.Errorf("%s: no paragraph about field selectors has %s", p.Name, name)
			}
		}
	}
}

// standard are fields whose own fields are Kubernetes'.
var standard = []string{"status.conditions", "spec.namespaceSelector"}

// walk visits a field and all the fields below it.
func walk(path string, s *schema, visit func(string, *schema)) {
	if s == nil {
		return // AccessPolicies have no status.
	}
	visit(path, s)
	if slices.Contains(standard, path) {
		return
	}
	if s.Items != nil {
		path, s = path+"[]", s.Items
	}
	for name, property := range s.Properties {
		walk(path+"."+name, property, visit)
	}
}

func checkField(t *testing.T, p pages.Page, path string, s *schema) {
	t.Helper()
	element := s // or that of which there are several
	switch {
	case s.Items != nil:
		element = s.Items
	case s.AdditionalProperties != nil:
		element = s.AdditionalProperties
	}
	if strings.HasPrefix(path, "spec") {
		for _, rule := range slices.Concat(s.Rules, element.Rules) {
			if !strings.Contains(p.Prose, "| "+strings.ReplaceAll(rule.Message, "|", `\|`)+" |") {
				t.Errorf("%s, %s: no row has the message %q", p.Name, path, rule.Message)
			}
		}
	}
	if !strings.Contains(path, ".") {
		return // spec and status themselves
	}
	row := p.Row(path)
	if row == "" {
		t.Errorf("%s: no row for %s", p.Name, path)
		return
	}
	if strings.HasPrefix(path, "status") {
		return // Nobody has to keep its limits.
	}
	for _, constraint := range constraints(s, element) {
		if !strings.Contains(row, constraint) {
			t.Errorf("%s, %s: the row lacks %s", p.Name, path, constraint)
		}
	}
}

// constraints returns what a row must say about a field: limits, values and the default.
func constraints(s, element *schema) []string {
	var found []string
	limits := []*int64{s.MaxItems, s.MaxProperties, s.Minimum, s.Maximum}
	if len(element.Rules) == 0 { // Where there are rules, they say more than the length.
		limits = append(limits, element.MaxLength)
	}
	for _, limit := range limits {
		if limit != nil {
			found = append(found, strconv.FormatInt(*limit, 10))
		}
	}
	values := slices.Clone(element.Enum)
	var defaults []json.RawMessage
	if s.Default != nil && json.Unmarshal(s.Default, &defaults) != nil {
		defaults = []json.RawMessage{s.Default}
	}
	for _, value := range append(values, defaults...) {
		found = append(found, code(value))
	}
	return found
}

// code is a JSON value as pages write it.
func code(value []byte) string { return "`" + strings.Trim(string(value), `"`) + "`" }

var flagHelp = regexp.MustCompile(`(?m)^ {2}-([a-z-]+).*\n(.*)$`)

var flagDefault = regexp.MustCompile(`\(default "?([^")]+)"?\)$`)

// TestEveryFlag checks that each flag of a program has a row in its page, with its default.
func TestEveryFlag(t *testing.T) {
	for _, name := range []string{"controller", "verifier", "console"} {
		p := pages.Read(t, "docs/"+name+".md")
		out, err := exec.CommandContext(t.Context(), program.Build(t, "./cmd/"+name), "--help").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		flags := flagHelp.FindAllSubmatch(out, -1)
		if len(flags) < 10 {
			t.Errorf("only %d flags found in %s", len(flags), out)
		}
		for _, flag := range flags {
			name := "--" + string(flag[1])
			if !p.Mentions(name) {
				t.Errorf("%s lacks %s", p.Name, name)
			}
			// The default of --name is this machine's.
			value := flagDefault.FindSubmatch(flag[2])
			if value != nil && name != "--name" && !strings.Contains(p.Row(name), code(value[1])) {
				t.Errorf("%s: the row of %s lacks its default %s", p.Name, name, value[1])
			}
		}
	}
}
