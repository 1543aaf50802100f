package secretdata_test

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/printable"
	"github.com/nexuscommerce/apikey-operator/internal/secretdata"
)

var seeds = []string{
	"", "plain text", "{{.Token}}", "NEXUS_TOKEN={{.Token}}\nNEXUS_TENANT={{.TenantID}}\n", "{{ .Authorization | json }}",
	`{{ .Scopes | join ", " | shell }}`,
	"{{ .Scopes | json }}", "{{ .Scopes }}", "a {{- .Name -}} b", "{{- /* a */ -}}", "{{/**/}}", `{{ "\"}}" }}`,
	"{{ `{{` | html }}", "{{{.Token}}", "{}{{.Token}}{",
	"{{ .DisplayName | html }}{{ .DisplayName | urlquery }}{{ .DisplayName | base64 }}", "{{.Nonsense}}", "{{.Token",
	`{{printf "%q" .Authorization}}`,
	"{{index .Scopes 0}} {{index .Scopes 7}}", "{{index .Token .Token}}", "{{slice .Token 70}}",
	"{{range .Scopes}}{{.}}{{end}}", `{{define "a"}}{{template "a"}}{{end}}`,
	"{{if .Token}}{{end}}", "{{with .Scopes}}{{len .}}{{end}}", "{{.Token.Foo}}", `{{printf "%999999d" 1}}`,
	`{{call .Token}}`, `{{html (js (urlquery .Token))}}`,
	`{{$t := .Token}}{{with $t}}{{eq . 1}}{{end}}`, `{{.Token | index .Scopes}}`, "{{.Token|json|json}}",
	`{{"\xff"|json}}`, "{{.DisplayName|\nurlquery}}", "{{/* *", "{{/***/}}", "{{-}}",
}

// FuzzTemplate checks for any template that only the rendered output depends on the token, that the limits hold, and
// that the API server's rule refuses nothing that can be rendered.
func FuzzTemplate(f *testing.F) {
	for _, seed := range append(attacks(), seeds...) {
		f.Add(seed, "A name")
	}
	f.Add("{{.DisplayName}}{{.DisplayName|json}}", "x\"\nurl = \"http://elsewhere.example/\"\n#")
	rule := templateRule(f)
	f.Fuzz(func(t *testing.T, text, name string) {
		fields, others := someFields(), someFields()
		fields.DisplayName, others.DisplayName = name, name
		others.Token = "nxc_live_" + strings.Repeat("z", 57)
		others.Authorization = "Bearer " + others.Token
		if one, other := outcome(t, text, fields), outcome(t, text, others); one != other {
			t.Errorf("%q depends on the token: %s, and %s", text, one, other)
		}
		rendered, err := secretdata.Render(single(text), fields)
		switch {
		case err != nil && (rendered != nil || strings.Contains(err.Error(), fields.Token) || !printable.Is(err.Error())):
			t.Errorf("%q: %q, %q", text, rendered, err)
		case err != nil:
			return
		case len(rendered["x"]) > secretdata.MaxRendered:
			t.Errorf("%q renders to %d bytes", text, len(rendered["x"]))
		case !strings.Contains(text, "{{") && string(rendered["x"]) != text:
			t.Errorf("%q renders to %q", text, rendered["x"])
		case !rule.MatchString(text):
			t.Errorf("%q can be rendered, and the API server refuses it", text)
		}
	})
}

// templateRule returns the API server's rule for templates.
func templateRule(t testing.TB) *regexp.Regexp {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "bases", "keys.nexuscommerce.io_apikeys.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, rule, named := strings.Cut(string(content), "holds something in {{ }}")
	_, rule, begins := strings.Cut(rule, "self.matches(r'")
	rule, _, ends := strings.Cut(rule, "')")
	if !named || !begins || !ends {
		t.Fatal("the rule is another")
	}
	return regexp.MustCompile(regexp.MustCompile(`\n *`).ReplaceAllString(rule, " ")) // YAML may fold a line at a space.
}

// TestRule checks that the API server's rule refuses what can't be rendered, apart from what a rule can't express.
func TestRule(t *testing.T) {
	rule := templateRule(t)
	later := []string{`{{"\q"}}`} // The controller refuses it.
	for _, text := range append(attacks(), seeds...) {
		err := secretdata.Check(single(text), someFields())
		tooLarge := err != nil && strings.Contains(err.Error(), "larger than 512 KiB")
		if want := err == nil || tooLarge; rule.MatchString(text) != want {
			t.Errorf("%.80q: the rule says %v, and Check %v", text, rule.MatchString(text), err)
		}
	}
	for _, text := range later {
		if secretdata.Check(single(text), someFields()) == nil || !rule.MatchString(text) {
			t.Errorf("%q is refused by the rule, or by nobody", text)
		}
	}
}

// FuzzEncoders checks that the standard library, or a shell, decodes the encoders' output to the input.
func FuzzEncoders(f *testing.F) {
	for _, seed := range []string{
		"", "a", `x" y' \z`, "<&>", "倉庫 👩‍🔧", "\x1b[2J\n\u2028\U000e0041", "a%2Fb?c=d&e+f~", "$(id) `id` $HOME",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		valid := strings.ToValidUTF8(name, "\ufffd")
		for encoder, decode := range map[string]func(string) (string, error){
			"json": func(s string) (out string, err error) {
				err = json.Unmarshal([]byte(s), &out)
				return out, err
			},
			"base64": func(s string) (string, error) {
				out, err := base64.StdEncoding.DecodeString(s)
				return string(out), err
			},
			"urlquery": url.QueryUnescape,
			"html":     func(s string) (string, error) { return html.UnescapeString(s), nil },
			"shell": func(s string) (string, error) {
				return strings.ReplaceAll(s[1:len(s)-1], `'\''`, "'"), nil
			},
		} {
			fields := someFields()
			fields.DisplayName = valid
			rendered, err := secretdata.Render(single("{{ .DisplayName | "+encoder+" }}"), fields)
			opaque := encoder != "html" && encoder != "shell"
			if (err == nil) != (opaque || printable.Is(valid)) {
				t.Errorf("%s of %q: %v", encoder, valid, err)
			}
			if err != nil {
				continue
			}
			if !printable.Is(string(rendered["x"])) {
				t.Errorf("%s of %q is not printable: %q", encoder, valid, rendered["x"])
			}
			if back, err := decode(string(rendered["x"])); err != nil || back != valid {
				t.Errorf("%s of %q is %q, which is read as %q, %v", encoder, valid, rendered["x"], back, err)
			}
		}
	})
}

// TestShell checks that a shell reads the encoder's output as the text that was encoded.
func TestShell(t *testing.T) {
	fields := someFields()
	for _, name := range []string{`Bob's "Stock" \`, "$(id) `id` $HOME ; # & |", "'''", `a\'b`, "-n *"} {
		fields.DisplayName = name
		rendered, err := secretdata.Render(single("NAME={{ .DisplayName | shell }}\n"), fields)
		if err != nil {
			t.Fatal(err)
		}
		got, err := exec.CommandContext(t.Context(), "sh", "-c", string(rendered["x"])+`printf %s "$NAME"`).Output()
		if err != nil || string(got) != name {
			t.Errorf("%q is read as %q, %v", name, got, err)
		}
	}
}
