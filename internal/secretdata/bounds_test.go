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

// mostCharacters is the longest that a template may be.
const mostCharacters = 4096

// repeat is a text, as often as a number says and a template has room.
func repeat(text string, times int) keysv1alpha1.Template {
	return keysv1alpha1.Template(strings.Repeat(text, min(times, mostCharacters/len([]rune(text)))))
}

// attacks are templates that cost, or told, more than they should, and others that might.
func attacks() []string {
	doubled := `{{$a := printf "%1000000d" 1}}` + strings.Repeat("{{$a = print $a $a}}", 9) + "{{len $a}}"
	chained := "{{$a := .DisplayName}}"
	for len(chained) < 4000 {
		chained += "{{$a = js $a}}"
	}
	all := []string{
		doubled, chained, `{{index .Scopes (index .Token 20)}}`, `{{slice .Token 70}}`, `{{if eq (index .Token 9) 55}}{{fail}}{{end}}`, `{{printf "%.*d" (len .Token) 1}}`,
	}
	for _, text := range []string{
		"{", "{{", "}}", "{{.Token}}", "{{.Scopes}}", "{{.DisplayName|html}}", "{{.APIBaseURL}}", "{{- .Name -}}  ", "{{/**/}}", "{{/*", "{{/* /* */", `{{""}}`, `{{"\\"|json}}`,
		`{{"`, "{{`", `{{.Scopes|join "<<<<<<<<<<<<<<<<"|html}}`, `{{.Scopes|join "`, "{{.Scopes|json}}", "{{.X", "{{.Token|json|", " ", "\n", "{{- ", "\n{{- \n -}}", "\U0010ffff",
		`{{"\U0010ffff"|urlquery}}`, "\x00",
	} {
		all = append(all, string(repeat(text, mostCharacters)))
	}
	return all
}

// TestBounds checks that the largest and strangest templates take little time and memory, all 32 that a key may have together, and render
// to no more than is allowed.
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
		if took > 200*time.Millisecond { // Of 32 templates, with the race detector, on a busy machine: 1 to 7 ms on an idle one.
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

// cost returns what a function takes, at the best of several times: what else the machine does is no fault of it.
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
