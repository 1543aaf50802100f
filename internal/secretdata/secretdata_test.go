package secretdata_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/secretdata"
)

const someToken = "nxc_live_7Hk2PqZxTheTokenThatMustNotLeak0123456789abcdefghijABCDEF"

func someFields() *secretdata.Fields {
	return &secretdata.Fields{
		Token: someToken, Authorization: "Bearer " + someToken,
		TenantID: "3714240b-2e06-4c35-8856-ccc1c096323e", APIBaseURL: "https://your-nexuscommerce.com/api",
		Prefix:    "nxc_live_7Hk2PqZx",
		ExpiresAt: "Never", Namespace: "warehouse", Name: "catalog-reader", DisplayName: `Bob's "Stock" <A&B> \ 倉庫`,
		Scopes: []string{"products:read", "orders:*"},
	}
}

// single returns a single template.
func single(text string) map[string]keysv1alpha1.Template {
	return map[string]keysv1alpha1.Template{"x": keysv1alpha1.Template(text)}
}

func TestRender(t *testing.T) {
	for text, want := range map[string]string{
		"plain text":                     "plain text",
		"{ { }} } {x} {":                 "{ { }} } {x} {",
		"{{.Token}}":                     someToken,
		"{{ .Authorization }}":           "Bearer " + someToken,
		"{{\t.TenantID\r\n}}":            "3714240b-2e06-4c35-8856-ccc1c096323e",
		"{{.APIBaseURL}}|{{.Prefix}}":    "https://your-nexuscommerce.com/api|nxc_live_7Hk2PqZx",
		"{{.ExpiresAt}}":                 "Never",
		"{{.Namespace}}/{{.Name}}":       "warehouse/catalog-reader",
		"{{ .DisplayName }}":             `Bob's "Stock" <A&B> \ 倉庫`,
		"{{ .DisplayName | json }}":      `"Bob's \"Stock\" <A&B> \\ 倉庫"`,
		"{{.DisplayName|base64}}":        "Qm9iJ3MgIlN0b2NrIiA8QSZCPiBcIOWAieW6qw==",
		"{{ .DisplayName | urlquery }}":  "Bob%27s+%22Stock%22+%3CA%26B%3E+%5C+%E5%80%89%E5%BA%AB",
		"{{ .DisplayName | html }}":      "Bob&#39;s &#34;Stock&#34; &lt;A&amp;B&gt; \\ 倉庫",
		"{{ .DisplayName | shell }}":     `'Bob'\''s "Stock" <A&B> \ 倉庫'`,
		"{{ .Scopes }}":                  "[products:read orders:*]",
		"{{ .Scopes | json }}":           `["products:read","orders:*"]`,
		`{{ .Scopes | join " " }}`:       "products:read orders:*",
		`{{.Scopes|join "\n- "|json}}`:   `"products:read\n- orders:*"`,
		"{{ .Scopes | join `,` | html}}": "products:read,orders:*",
		"a \n {{- .Name -}} \t b":        "acatalog-readerb",
		"a {{- /* nothing */ -}} b":      "ab",
		"a {{/* {{ }} \n */}} b":         "a  b",
		"a {{- .Name }} {{ .Name -}} b":  "acatalog-reader catalog-readerb",
		`{{ "{{" }}{{ "\t}}" }}`:         "{{\t}}",
		"{{ `{{\\n` }}":                  `{{\n`,
		`{{ "a\"b" | json }}`:            `"a\"b"`,
		`{{- "" -}}`:                     "",
	} {
		rendered, err := secretdata.Render(single(text), someFields())
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := string(rendered["x"]); got != want {
			t.Errorf("%q is rendered as %q, want %q", text, got, want)
		}
	}
}

// TestRefused checks the messages about invalid templates, such as those with constructs of Go's templates, which these
// used to be: each says where, and what to write.
func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"line one\n  {{ index .Scopes 0 }}": `line 2, column 6: index is not supported: write {{ .Scopes | join " ` +
			`" }} for all scopes in a line, or {{ .Scopes | json }}`,
		`{{ index .Scopes 0 | printf "%q" }}`: "column 4: index is not supported",
		"{{index .Scopes (index .Token 20)}}": "column 3: index is not supported",
		`ü{{ printf "%q" .Prefix }}`:          "line 1, column 5: printf is not supported: write {{ .Prefix | json }}",
		`{{ printf "Bearer %s" .Token }}`:     "write {{ .Token }}, and text outside of the braces",
		"{{ print .Name }}":                   "print is not supported: write {{ .Name }}",
		"{{ html .DisplayName }}":             "an encoder comes after the value: write {{ .DisplayName | html }}",
		"{{ urlquery .Name }}":                "write {{ .Name | urlquery }}",
		"{{ json .Token }}":                   "write {{ .Token | json }}",
		"{{ js .Token }}":                     "js is not supported: write {{ .Token | json }}",
		"{{ .Token | js }}":                   "column 13: js is not supported: write {{ .Token | json }}",
		`{{ .Token | printf "%q" }}`:          "printf is not supported: write {{ .Token | json }}",
		"{{ .Token | len }}":                  "len is not supported: nothing is decided or computed",
		"{{range .Scopes}}{{.}}{{end}}":       `range is not supported: write {{ .Scopes | join " " }}`,
		"{{if .Token}}a{{end}}":               "if is not supported",
		"{{with .Token}}a{{end}}":             "with is not supported",
		"{{len .Token}}":                      "len is not supported",
		"{{slice .Token 0 20}}":               "slice is not supported",
		"{{eq .Token .Name}}":                 "eq is not supported",
		"{{call .Token}}":                     "call is not supported",
		`{{define "a"}}b{{end}}`:              "define is not supported",
		`{{template "a"}}`:                    "template is not supported",
		`{{block "a" .}}{{end}}`:              "block is not supported",
		`{{$a := printf "%1000000d" 1}}`:      "variables are not supported: write the field itself",
		"{{$a = .Token}}": "variables are not supported: " +
			"write the field itself, such as {{ .Token }}",
		"{{(.Token)}}":     "parentheses are not supported: write {{ .Token }}",
		"{{.}}":            "name a field: the fields are .Token, .Authorization, .TenantID",
		"{{}}":             "name a field",
		"{{.Nonsense}}":    "there is no field .Nonsense: the fields are .Token",
		"{{.Token.Foo}}":   "a field has no fields of its own: write {{ .Token }}",
		"{{.Token .Name}}": "an action has one value: write {{ .Name }} after it",
		"{{.token}}":       "there is no field .token",
		`{{env "HOME"}}`:   "there is nothing with the name env",
		"{{7}}":            "write the text outside of {{ and }}, or in quotes",
		"{{nil}}":          "write the text outside of {{ and }}, or in quotes",
		"{{.Token":         "line 1, column 1: unclosed action",
		"{{.Token }":       "column 10: there is a character too many, or }} is missing",
		"{{.Token}":        "there is a character too many, or }} is missing",
		"{{{.Token}}}":     "column 3: there is a character too many",
		"{{-.Token}}":      "column 3: there is a character too many",
		"{{.Token-}}":      "there is a character too many",
		"{{ /* a }}":       "unclosed comment",
		`{{ "a }}`: "column 4: unclosed action: " +
			"there is a line break, or the end, in a quoted text",
		"{{ \"a\n\" }}":                            "unclosed action: there is a line break",
		`{{ "\q" }}`:                               `write \\ for a backslash`,
		`{{ .Scopes | base64 }}`:                   `a list is joined first: {{ .Scopes | join " " | base64 }}`,
		`{{ .Scopes | join }}`:                     `join takes a separator: {{ .Scopes | join " " }}`,
		`{{ .Scopes | join "12345678901234567" }}`: "a separator has at most 16 characters",
		`{{ .Token | join " " }}`:                  "an encoder comes after the value", // .Token is not a list.
		`{{ .Scopes | join "," | join "," }}`:      "an encoder comes after the value",
		`{{ .Token | json | json }}`:               "a value has one encoder: remove json",
		"{{ .Token | upper }}":                     "there is nothing with the name upper",
		"{{ .Token | }}":                           "name a field",
		"{{." + strings.Repeat("A", 4000) + "}}":   "there is no field ." + strings.Repeat("A", 40) + "…: the fields are",
		"{{ \u202e }}":                             "there is a character too many",
	} {
		_, err := secretdata.Render(single(text), someFields())
		refused, ok := errors.AsType[*secretdata.Error](err)
		switch {
		case !ok:
			t.Errorf("%.60q is not refused: %v", text, err)
		case !strings.Contains(err.Error(), want):
			t.Errorf("%.60q: %v, want %q", text, err, want)
		case refused.Name != "x" || !strings.HasPrefix(
			err.Error(), fmt.Sprintf("spec.secret.data[x]: line %d, column %d: ", refused.Line, refused.Column),
		):
			t.Errorf("%.60q: %v does not begin with the name and the place", text, err)
		case len(err.Error()) > 500:
			t.Errorf("%.60q: the message has %d bytes", text, len(err.Error()))
		}
	}
}

// TestUnprintable checks that a value that would add a line, or control a terminal, is only emitted encoded. Objects
// that are older than the rules about their fields may have such names.
func TestUnprintable(t *testing.T) {
	for _, name := range []string{"x\nproxy = y", "x\ry", "\x1b[2J", "\u2028", "\u202eevil", "\ufeff"} {
		f := someFields()
		f.DisplayName = name
		for _, text := range []string{"{{.DisplayName}}", "{{ .DisplayName | html }}", "{{ .DisplayName | shell }}"} {
			_, err := secretdata.Render(single("# "+text), f)
			if err == nil || !strings.Contains(
				err.Error(), "column 3: the value of .DisplayName has a line break or another character that is not printable",
			) ||
				!strings.Contains(err.Error(), "write {{ .DisplayName | json }}") || strings.Contains(err.Error(), name) {
				t.Errorf("%q with the name %q: %v", text, name, err)
			}
		}
		for _, encoder := range []string{"json", "base64", "urlquery"} {
			rendered, err := secretdata.Render(single("{{ .DisplayName | "+encoder+" }}"), f)
			if err != nil || strings.ContainsAny(string(rendered["x"]), name[:1]+"\n\r\x1b") && name[:1] != "x" {
				t.Errorf("%s of %q: %q, %v", encoder, name, rendered["x"], err)
			}
		}
	}
}

// TestAll checks that the limit holds for all templates together, and that the error names the first that fails, by
// name.
func TestAll(t *testing.T) {
	f := someFields()
	f.APIBaseURL = "https://" + strings.Repeat("a", 504)
	large := keysv1alpha1.Template(strings.Repeat("{{.APIBaseURL}}", 270)) // 135 KiB
	templates := map[string]keysv1alpha1.Template{"a": large, "b": large, "c": large}
	rendered, err := secretdata.Render(templates, f)
	if err != nil {
		t.Fatal(err)
	}
	for name := range templates {
		if string(rendered[name]) != strings.Repeat(f.APIBaseURL, 270) {
			t.Errorf("%s is rendered differently", name)
		}
	}
	templates["d"], templates["z"] = large, "{{"
	_, err = secretdata.Render(templates, f)
	if err == nil || err.Error() != "spec.secret.data[d]: line 1, column 3211: the Secret's data would be larger than "+
		"512 KiB: remove some of it" {
		t.Error(err)
	}
}
