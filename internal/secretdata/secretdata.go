// Package secretdata renders the templates of an ApiKey for the data of its Secret. It is pure.
//
// A template is text with values in {{ … }}. That is the whole language:
//
//	template = { text | "{{" [ "- " ] ( value | comment ) [ " -" ] "}}" }
//	value    = ( field | literal ) [ "|" encoder ]
//	         | ".Scopes" "|" "join" literal [ "|" encoder ]
//	comment  = "/*" … "*/"
//
// Nothing is evaluated, compared, indexed, measured or assigned. That allows two guarantees that no restriction of a
// general template language can give:
//
//   - Time and memory are bounded by the lengths of the template and of its output, and the output is measured before
//     it is made.
//   - The token can only be emitted. Whether, where and with which message a template fails does not depend on it:
//     Check never reads Fields.Token, Fields.Authorization or Fields.Prefix, and Render can't fail after Check has
//     passed.
package secretdata

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

const (
	// MaxRendered is how long the output of all templates of a key may be, in bytes. A Secret holds 1 MiB.
	MaxRendered = 512 << 10
	// longestToken and longestPrefix are the lengths that every token and prefix count as, so that the measured size
	// reveals nothing about the token, and is the same for the next one.
	longestToken, longestPrefix = 89, 40
)

// Fields are the values that templates can use.
type Fields struct {
	Token, Authorization         string
	TenantID, APIBaseURL         string
	Prefix, ExpiresAt            string
	Namespace, Name, DisplayName string
	Scopes                       []string
}

// Error says which template can't be rendered, where, and what to write instead. It never contains rendered output.
type Error struct {
	Name string
	// Line and Column count from 1, in characters.
	Line, Column int
	Problem      string
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("spec.secret.data[%s]: line %d, column %d: %s", e.Name, e.Line, e.Column, e.Problem)
}

// Render returns the output of templates by their names. Its error is an *Error, the same that Check returns.
func Render(templates map[string]keysv1alpha1.Template, f *Fields) (map[string][]byte, error) {
	sizes, err := measure(templates, f)
	if err != nil {
		return nil, err
	}
	rendered := make(map[string][]byte, len(templates))
	for name, text := range templates {
		out := make([]byte, 0, sizes[name])
		_ = scan(string(text), func(p *piece) string {
			out = p.append(out, f)
			return ""
		})
		rendered[name] = out
	}
	return rendered, nil
}

// Check returns the error that Render would return. It doesn't read the token.
func Check(templates map[string]keysv1alpha1.Template, f *Fields) error {
	_, err := measure(templates, f)
	return err
}

// measure returns an upper bound of the length of each template's output.
func measure(templates map[string]keysv1alpha1.Template, f *Fields) (map[string]int, error) {
	public := f.withoutToken()
	sizes := make(map[string]int, len(templates))
	room := MaxRendered
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		before := room
		err := scan(string(templates[name]), func(p *piece) string {
			if problem := p.check(&public); problem != "" {
				return problem
			}
			if room -= p.size(&public); room < 0 {
				return fmt.Sprintf("the Secret's data would be larger than %d KiB: remove some of it", MaxRendered>>10)
			}
			return ""
		})
		if err != nil {
			err.Name = name
			return nil, err
		}
		sizes[name] = before - room
	}
	return sizes, nil
}

// withoutToken returns fields with a placeholder for the token, to measure with: of the greatest length, and of
// characters that encoders treat like those of every token.
func (f *Fields) withoutToken() Fields {
	public := *f
	public.Token, public.Prefix = strings.Repeat("x", longestToken), strings.Repeat("x", longestPrefix)
	public.Authorization = "Bearer " + public.Token
	return public
}
