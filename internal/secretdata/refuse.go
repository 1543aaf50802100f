package secretdata

import (
	"strings"

	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// refuse returns what is wrong at the scanner's position, in an action that begins at begin, and what to write instead.
// Templates used to be Go's text/template, and objects and manifests may still have such ones. For these, the message
// has the new spelling.
func (s *scanner) refuse(begin int) *fault {
	if s.at >= len(s.text) {
		return &fault{begin, unclosedAction}
	}
	at := s.at
	word := s.word()
	if word == "" {
		return &fault{at, s.refuseCharacter(begin, at)}
	}
	operand := s.operand(begin)
	switch word {
	case "printf", "print", "println", "js":
		return &fault{at, word + " is not supported: write " + s.printed(begin, word, operand)}
	case "html", "urlquery", jsonName, "base64", "shell", joinName:
		return &fault{at, "an encoder comes after the value: write {{ " + operand + " | " + word + " }}"}
	case "index", "range", "slice":
		return &fault{
			at,
			word + ` is not supported: write {{ .Scopes | join " " }} for all scopes in a line, or {{ .Scopes | json }} for ` +
				`a JSON list`,
		}
	case "if", "else", "with", "end", "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "call":
		return &fault{at, word + " is not supported: nothing is decided or computed in a template; write what this key needs"}
	case "define", "template", "block", "break", "continue":
		return &fault{at, word + " is not supported: write the text itself"}
	}
	if word[0] >= '0' && word[0] <= '9' || word == "true" || word == "false" || word == "nil" {
		return &fault{at, "write the text outside of {{ and }}, or in quotes"}
	}
	return &fault{at, "there is nothing with the name " + excerpt(word) + ": " + whatThereIs}
}

// refuseCharacter returns the message about something that begins with neither a letter nor a digit.
func (s *scanner) refuseCharacter(begin, at int) string {
	switch c := s.text[at]; {
	case c == '$':
		return "variables are not supported: write the field itself, such as {{ " + s.operand(begin) + " }}"
	case c == '.':
		s.at++
		name := s.word()
		if name == "" {
			return nameAField
		}
		if fieldsByName[name] != nil {
			return "an action has one value: write {{ ." + name + " }} after it, with braces of its own"
		}
		if isWord(s.text[at-1]) {
			return "a field has no fields of its own: write {{ " + s.operand(begin) + " }}"
		}
		return "there is no field ." + excerpt(name) + ": " + whatThereIs
	case c == '(' || c == ')':
		operand := s.operand(begin)
		return "parentheses are not supported: write {{ " + operand + " }} or {{ " + operand + " | " + jsonName + " }}"
	case s.startsWith(at, closing):
		return nameAField
	}
	return "there is a character too many, or }} is missing: an action is {{ .DisplayName }} or {{ .DisplayName | " +
		"" + jsonName + " }}"
}

// printed returns the new spelling of a call of a printing function.
func (s *scanner) printed(begin int, function, operand string) string {
	if function == "js" || strings.Contains(s.rest(begin), `%q`) {
		return "{{ " + operand + " | " + jsonName + " }}"
	}
	return "{{ " + operand + " }}, and text outside of the braces"
}

// operand returns the first field in an action, or a placeholder.
func (s *scanner) operand(begin int) string {
	text := s.rest(begin)
	for {
		_, after, ok := strings.Cut(text, ".")
		if !ok {
			return ".DisplayName"
		}
		in := &scanner{text: after}
		if name := in.word(); fieldsByName[name] != nil {
			return "." + name
		}
		text = after
	}
}

// rest returns an action from its beginning to its end, or a bounded part of it.
func (s *scanner) rest(begin int) string {
	const most = 200
	rest := s.text[begin:min(len(s.text), begin+most)]
	rest, _, _ = strings.Cut(rest, closing)
	return rest
}

func excerpt(text string) string { return printable.Excerpt(text, 40) }

var nameAField = "name a field: " + whatThereIs

// whatThereIs lists what an action may contain.
var whatThereIs = func() string {
	names := make([]string, len(allFields))
	for i := range allFields {
		names[i] = "." + allFields[i].name
	}
	return "the fields are " + strings.Join(names, ", ") + ", and the encoders | " + strings.Join(encoderNames, ", | ")
}()
