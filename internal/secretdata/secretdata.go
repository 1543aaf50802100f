// Package secretdata renders the templates that an ApiKey has for the data of its Secret. It is pure.
//
// A template is text in which {{ … }} stands for a value. That is the whole language:
//
//	template = { text | "{{" [ "- " ] ( value | comment ) [ " -" ] "}}" }
//	value    = ( field | literal ) [ "|" encoder ]
//	         | ".Scopes" "|" "join" literal [ "|" encoder ]
//	comment  = "/*" … "*/"
//
// Nothing is evaluated, compared, indexed, measured or assigned. That makes two promises possible, which a general template language
// can't keep however it is restricted:
//
//   - Time and memory are bounded by the lengths of the template and of its output, and the output is measured before it is made.
//   - The token can only be emitted. Whether, where and with which message a template fails is decided without it: Check never reads
//     Fields.Token, Fields.Authorization or Fields.Prefix, and once it has passed, Render can't fail.
package secretdata

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

const (
	// MaxRendered is the most that all templates of a key may come to: a Secret holds 1 MiB in all.
	MaxRendered = 512 << 10
	// longestToken and longestPrefix are as long as a token, and its prefix, may be. Each counts as that, so that the room it takes says
	// nothing of it, and is the same for the next.
	longestToken, longestPrefix = 89, 40
)

// Fields are what templates may use.
type Fields struct {
	Token, Authorization         string
	TenantID, APIBaseURL         string
	Prefix, ExpiresAt            string
	Namespace, Name, DisplayName string
	Scopes                       []string
}

// Error says which template can't be rendered, where in it, and what to write instead. It never holds what was rendered.
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

// Render renders templates by their names. The error is an *Error, and that of Check.
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

// Check says what Render would fail with. It doesn't read the token.
func Check(templates map[string]keysv1alpha1.Template, f *Fields) error {
	_, err := measure(templates, f)
	return err
}

// measure returns at least the length of what each template renders to.
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

// withoutToken returns fields with a stand-in for the token, to measure by: the longest, of characters that encoders treat as they do
// every token's.
func (f *Fields) withoutToken() Fields {
	public := *f
	public.Token, public.Prefix = strings.Repeat("x", longestToken), strings.Repeat("x", longestPrefix)
	public.Authorization = "Bearer " + public.Token
	return public
}
