package secretdata

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// piece is a part of a template: text, or a field's value.
type piece struct {
	// text is emitted if there is no field.
	text  string
	field *field
	// joined means that a list's elements are joined, with the separator between them.
	joined    bool
	separator string
	// encoder encodes the value. Nil emits it unchanged.
	encoder *encoder
}

// field is one of Fields.
type field struct {
	name string
	// value returns the field's value. It is nil for a list.
	value func(*Fields) string
}

// allFields has the fields in the order in which messages list them.
var allFields = []field{
	{"Token", func(f *Fields) string { return f.Token }},
	{"Authorization", func(f *Fields) string { return f.Authorization }},
	{"TenantID", func(f *Fields) string { return f.TenantID }},
	{"APIBaseURL", func(f *Fields) string { return f.APIBaseURL }},
	{"Prefix", func(f *Fields) string { return f.Prefix }},
	{"ExpiresAt", func(f *Fields) string { return f.ExpiresAt }},
	{"Namespace", func(f *Fields) string { return f.Namespace }},
	{"Name", func(f *Fields) string { return f.Name }},
	{"DisplayName", func(f *Fields) string { return f.DisplayName }},
	{"Scopes", nil},
}

var fieldsByName = func() map[string]*field {
	byName := map[string]*field{}
	for i := range allFields {
		byName[allFields[i].name] = &allFields[i]
	}
	return byName
}()

// isList reports whether the value is a list that is not joined.
func (p *piece) isList() bool { return p.field != nil && p.field.value == nil && !p.joined }

// value returns the text before it is encoded. Its length is bounded: there are at most 64 scopes of 128 characters,
// and separators are short.
func (p *piece) value(f *Fields) string {
	switch {
	case p.field == nil:
		return p.text
	case p.joined:
		return strings.Join(f.Scopes, p.separator)
	case p.isList():
		return "[" + strings.Join(f.Scopes, " ") + "]"
	}
	return p.field.value(f)
}

// check returns what is wrong with emitting the piece, or "". A value with a line break, say, would add a line to a
// file whose lines the template's author believes to know. Such a value may only be emitted by an encoder that makes it
// printable. The template's own text is the author's business.
func (p *piece) check(f *Fields) string {
	if p.field == nil || p.encoder != nil && p.encoder.opaque || p.printable(f) {
		return ""
	}
	return fmt.Sprintf("the value of .%s has a line break or another character that is not printable, and would change "+
		"the meaning of the file: "+
		"change the value, or write {{ .%s | %s }}", p.field.name, p.field.name, jsonName)
}

func (p *piece) printable(f *Fields) bool {
	if p.field.value != nil {
		return printable.Is(p.field.value(f))
	}
	return !slices.ContainsFunc(f.Scopes, func(scope string) bool { return !printable.Is(scope) })
}

// size returns the length of what append appends.
func (p *piece) size(f *Fields) int {
	switch {
	case p.encoder == nil && p.joined:
		return listSize(f.Scopes, p.separator, length)
	case p.isList() && p.encoder == nil:
		return len("[]") + listSize(f.Scopes, " ", length)
	case p.isList():
		return len("[]") + listSize(f.Scopes, ",", p.encoder.size)
	case p.encoder == nil:
		return len(p.value(f))
	}
	return p.encoder.size(p.value(f))
}

func length(text string) int { return len(text) }

// listSize returns the length of a joined list whose elements have the given sizes.
func listSize(list []string, separator string, size func(string) int) int {
	total := len(separator) * max(len(list)-1, 0)
	for _, text := range list {
		total += size(text)
	}
	return total
}

// append appends the encoded value.
func (p *piece) append(out []byte, f *Fields) []byte {
	switch {
	case p.encoder == nil:
		return append(out, p.value(f)...)
	case p.isList():
		out = append(out, '[')
		for i, scope := range f.Scopes {
			if i > 0 {
				out = append(out, ',')
			}
			out = p.encoder.append(out, scope)
		}
		return append(out, ']')
	}
	return p.encoder.append(out, p.value(f))
}
