package secretdata_test

import (
	"errors"
	"strings"
	"testing"
	"text/template"

	"github.com/nexuscommerce/apikey-operator/internal/secretdata"
)

// FuzzTemplate checks that whatever stands in a key's template, rendering it ends, stays within its room and never puts the
// token into an error, which would become a condition and an event (S2).
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"", "plain text", "{{.Token}}", "NEXUS_TOKEN={{.Token}}\nNEXUS_TENANT={{.TenantID}}\n", `{{printf "%q" .Authorization}}`,
		"{{.Nonsense}}", "{{.Token", "{{index .Scopes 0}} {{index .Scopes 7}}", "{{index .Token .Token}}", "{{slice .Token 70}}",
		"{{range .Scopes}}{{.}}{{end}}", `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`, `{{block "a" .}}{{end}}`,
		"{{if .Token}}{{range .Scopes}}{{end}}{{end}}", "{{with .Scopes}}{{len .}}{{else}}none{{end}}", "{{break}}", "{{.Token.Foo}}",
		`{{printf "%999999d" 1}}`, `{{printf "%.*s" .Token 1}}`, `{{call .Token}}`, `{{html (js (urlquery .Token))}}`, "{{/* a */}}",
		`{{$t := .Token}}{{with $t}}{{eq . 1}}{{end}}`, `{{error .Token}}`, `{{.Token | index .Scopes}}`,
	} {
		f.Add(seed, 64)
	}
	fields := &secretdata.Fields{
		Token: "nxc_live_7Hk2PqZxTheTokenThatMustNotLeak", Authorization: "Bearer nxc_live_7Hk2PqZxTheTokenThatMustNotLeak",
		TenantID: "3714240b-2e06-4c35-8856-ccc1c096323e", APIBaseURL: "https://your-nexuscommerce.com/api", Prefix: "nxc_live_7Hk2PqZx",
		ExpiresAt: "Never", Namespace: "warehouse", Name: "catalog-reader", DisplayName: "Warehouse Integration", Scopes: []string{"products:read"},
	}
	f.Fuzz(func(t *testing.T, text string, room int) {
		room %= secretdata.MaxRendered
		rendered, err := secretdata.Render(text, fields, room)
		switch {
		case err == nil && len(rendered) > max(room, 0):
			t.Errorf("%q renders to %d bytes where there is room for %d", text, len(rendered), room)
		case err != nil && rendered != nil:
			t.Errorf("%q fails and renders to something", text)
		case err != nil && strings.Contains(err.Error(), fields.Token):
			t.Errorf("%q: the token is in the error", text)
		}
		if _, ok := errors.AsType[template.ExecError](err); ok {
			t.Errorf("%q: the error holds what text/template says of its arguments: %v", text, err)
		}
		if err == nil && !strings.Contains(text, "{{") && string(rendered) != text {
			t.Errorf("%q renders to %q", text, rendered)
		}
	})
}
