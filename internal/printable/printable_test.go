package printable_test

import (
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"Warehouse Integration": "Warehouse Integration",
		"Lager „Süd“ – 倉庫 👩‍🔧 می\u200cخواهم": "Lager „Süd“ – 倉庫 👩‍🔧 می\u200cخواهم",
		`a "quoted" \ name`:        `a "quoted" \ name`,
		"a\nb\rc\td":               `a\nb\rc\td`,
		"\x1b[2J\x00\x7f\u0085":    `\u001b[2J\u0000\u007f\u0085`,
		"\u2028\u2029\u202e\u2066": `\u2028\u2029\u202e\u2066`,
		"\u200b\u200e\u061c\ufeff": `\u200b\u200e\u061c\ufeff`,
		"\U000e0041":               `\U000e0041`,
		"\u00ad\u180e\u3164\uffa0": `\u00ad\u180e\u3164\uffa0`,
		"❤\ufe0f 葛\U000e0100城":     "❤\ufe0f 葛\U000e0100城",
		"a\xffb\ufffdc":            "a\\xffb\ufffdc",
	} {
		if got := printable.Text(text); got != want {
			t.Errorf("%q is written as %q, want %q", text, got, want)
		}
		if is := text == want; printable.Is(text) != is {
			t.Errorf("Is(%q) = %v", text, !is)
		}
		if !printable.Is(printable.Text(text)) {
			t.Errorf("%q is not printable once it is escaped", text)
		}
	}
}

func TestExcerpt(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"äöü":                     "äöü",
		"äöüß":                    "äöü…",
		"a\nbc":                   `a\nb…`,
		strings.Repeat("x", 4096): "xxx…",
	} {
		if got := printable.Excerpt(text, 3); got != want {
			t.Errorf("the excerpt of %.9q is %q, want %q", text, got, want)
		}
	}
}

func TestNote(t *testing.T) {
	for _, text := range []string{
		"", "short", strings.Repeat("x", 1024), strings.Repeat("x", 1025), strings.Repeat("ü", 1024),
		"x" + strings.Repeat("倉", 1024),
	} {
		got := printable.Note(text)
		if len(text) <= 1024 {
			if got != text {
				t.Errorf("a text of %d bytes is changed to %.20q", len(text), got)
			}
			continue
		}
		if len(got) > 1024 || len(got) < 1018 || !strings.HasSuffix(got, "…") || !printable.Is(got) {
			t.Errorf("of %d bytes, %d are left: %.20q", len(text), len(got), got)
		}
	}
}
