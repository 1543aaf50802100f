package secretdata_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/secretdata"
)

// maxCharacters is how long a template may be.
const maxCharacters = 4096

// repeat returns a text so many times, or as often as fits into a template.
func repeat(text string, times int) keysv1alpha1.Template {
	return keysv1alpha1.Template(strings.Repeat(text, min(times, maxCharacters/len([]rune(text)))))
}

// attacks returns templates that would cost or reveal more than they should in other template languages, and similar
// ones.
func attacks() []string {
	doubled := `{{$a := printf "%1000000d" 1}}` + strings.Repeat("{{$a = print $a $a}}", 9) + "{{len $a}}"
	chained := "{{$a := .DisplayName}}"
	for len(chained) < 4000 {
		chained += "{{$a = js $a}}"
	}
	all := []string{
		doubled, chained, `{{index .Scopes (index .Token 20)}}`, `{{slice .Token 70}}`,
		`{{if eq (index .Token 9) 55}}{{fail}}{{end}}`, `{{printf "%.*d" (len .Token) 1}}`,
	}
	for _, text := range []string{
		"{", "{{", "}}", "{{.Token}}", "{{.Scopes}}", "{{.DisplayName|html}}", "{{.APIBaseURL}}", "{{- .Name -}}  ",
		"{{/**/}}", "{{/*", "{{/* /* */", `{{""}}`, `{{"\\"|json}}`,
		`{{"`, "{{`", `{{.Scopes|join "<<<<<<<<<<<<<<<<"|html}}`, `{{.Scopes|join "`, "{{.Scopes|json}}",
		"{{.X", "{{.Token|json|", " ", "\n", "{{- ", "\n{{- \n -}}", "\U0010ffff",
		`{{"\U0010ffff"|urlquery}}`, "\x00",
		`{{"\U0010ffff"|json}}`, `{{.Scopes|join "\U0010ffff\U0010ffff"|urlquery}}`, "\xff", "{{\"\xff\"|json}}",
		"{{.", "{{-/**/-}}", `{{.Token|json|json}}`, "{{.Authorization|shell}}",
	} {
		all = append(all, string(repeat(text, maxCharacters)))
	}
	return all
}

// TestBounds checks that the largest and strangest templates, 32 at a time as a key may have, take little time and
// memory, and never render to more than is allowed.
func TestBounds(t *testing.T) {
	f := someFields()
	f.APIBaseURL, f.DisplayName = "https://"+strings.Repeat("a", 504), strings.Repeat("<", 128)
	f.Scopes = nil
	for i := range 64 {
		f.Scopes = append(f.Scopes, fmt.Sprintf("%s:%02d", strings.Repeat("a", 125), i))
	}
	for _, text := range attacks() {
		templates := map[string]keysv1alpha1.Template{}
		for i := range 32 {
			templates[fmt.Sprint(i)] = keysv1alpha1.Template(text)
		}
		var rendered map[string][]byte
		var err error
		took, allocated := cost(func() { rendered, err = secretdata.Render(templates, f) })
		most := uint64(1 << 20)
		if err == nil {
			most += secretdata.MaxRendered
		}
		if allocated > most {
			t.Errorf("%.40q: %d KiB are allocated", text, allocated>>10)
		}
		// On an idle machine, 32 templates take 1 to 7 ms.
		if took > 200*time.Millisecond {
			t.Errorf("%.40q: takes %v", text, took)
		}
		size := 0
		for _, data := range rendered {
			size += len(data)
		}
		if size > secretdata.MaxRendered {
			t.Errorf("%.40q: renders to %d KiB", text, size>>10)
		}
	}
}

// cost returns the time and memory of a function, at the best of several runs, so that other work of the machine
// doesn't count.
func cost(f func()) (took time.Duration, allocated uint64) {
	took, allocated = time.Hour, 1<<63
	for range 10 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begin := time.Now()
		f()
		took = min(took, time.Since(begin))
		runtime.ReadMemStats(&after)
		allocated = min(allocated, after.TotalAlloc-before.TotalAlloc)
	}
	return took, allocated
}
