package secretdata

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	opening, closing           = "{{", "}}"
	commentOpens, commentEnds  = "/*", "*/"
	space                      = " \t\r\n"
	longestSeparator           = 16
	separatorTooLong           = "a separator has at most 16 characters"
	unclosedAction, unclosedIn = "unclosed action: }} is missing",
		"unclosed action: there is a line break, or the end, in a quoted text"
)

// scanner reads one template from beginning to end, without ever going back.
type scanner struct {
	text string
	at   int
	// trim means that white space at the beginning of the next text is dropped.
	trim bool
}

// fault is what is wrong at a position in a template.
type fault struct {
	at      int
	problem string
}

// scan calls visit for each piece of a template, in order. If visit returns a message, that is what is wrong with the
// piece, and ends the scan.
func scan(text string, visit func(*piece) string) *Error {
	s := &scanner{text: text}
	p := &piece{} // Reused, because a template may have many.
	for s.at < len(text) {
		begin := s.at
		*p = piece{}
		wrong := s.next(p)
		if wrong == nil {
			if problem := visit(p); problem != "" {
				wrong = &fault{begin, problem}
			}
		}
		if wrong != nil {
			return newError(text, wrong)
		}
	}
	return nil
}

func newError(text string, wrong *fault) *Error {
	before := text[:wrong.at]
	return &Error{
		Line:    1 + strings.Count(before, "\n"),
		Column:  1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]),
		Problem: wrong.problem,
	}
}

// next reads the next piece: the text before the next action, or an action.
func (s *scanner) next(p *piece) *fault {
	if strings.HasPrefix(s.text[s.at:], opening) {
		return s.action(p)
	}
	text := s.text[s.at:]
	if end := strings.Index(text, opening); end >= 0 {
		text = text[:end]
	}
	s.at += len(text)
	if s.trim {
		text = strings.TrimLeft(text, space)
		s.trim = false
	}
	if inside := s.at + len(opening); s.startsWith(inside, "-") && s.spaceAt(inside+1) {
		text = strings.TrimRight(text, space)
	}
	p.text = text
	return nil
}

// action reads {{ … }}.
func (s *scanner) action(p *piece) *fault {
	begin := s.at
	s.at += len(opening)
	s.trim = false
	if s.startsWith(s.at, "-") && s.spaceAt(s.at+1) {
		s.at++
	}
	s.skipSpace()
	if s.startsWith(s.at, commentOpens) {
		end := strings.Index(s.text[s.at+len(commentOpens):], commentEnds)
		if end < 0 {
			return &fault{begin, "unclosed comment: */ is missing"}
		}
		s.at += len(commentOpens) + end + len(commentEnds)
		s.skipSpace()
	} else if wrong := s.value(begin, p); wrong != nil {
		return wrong
	}
	if s.startsWith(s.at, "-"+closing) && s.spaceAt(s.at-1) {
		s.at++
		s.trim = true
	}
	if !s.startsWith(s.at, closing) {
		return s.refuse(begin)
	}
	s.at += len(closing)
	return nil
}

// value reads an action's value, and the white space after it.
func (s *scanner) value(begin int, p *piece) (wrong *fault) {
	switch {
	case s.startsWith(s.at, "."):
		at := s.at
		s.at++
		name := s.word()
		if p.field = fieldsByName[name]; p.field == nil {
			s.at = at
			return s.refuse(begin)
		}
	case s.startsWith(s.at, `"`), s.startsWith(s.at, "`"):
		if p.text, wrong = s.literal(); wrong != nil {
			return wrong
		}
	default:
		return s.refuse(begin)
	}
	s.skipSpace()
	for s.startsWith(s.at, "|") {
		if wrong = s.pipe(begin, p); wrong != nil {
			return wrong
		}
		s.skipSpace()
	}
	return nil
}

// pipe reads | and what follows it.
func (s *scanner) pipe(begin int, p *piece) (wrong *fault) {
	s.at++
	s.skipSpace()
	at := s.at
	name := s.word()
	switch {
	case name == joinName && p.isList() && p.encoder == nil:
		s.skipSpace()
		if !s.startsWith(s.at, `"`) && !s.startsWith(s.at, "`") {
			return &fault{at, `join takes a separator: {{ .Scopes | join " " }}`}
		}
		at = s.at
		p.joined = true
		if p.separator, wrong = s.literal(); wrong == nil && utf8.RuneCountInString(p.separator) > longestSeparator {
			wrong = &fault{at, separatorTooLong}
		}
		return wrong
	case encoders[name] == nil:
		s.at = at
		return s.refuse(begin)
	case p.encoder != nil:
		return &fault{at, "a value has one encoder: remove " + name}
	case p.isList() && name != jsonName:
		return &fault{at, "a list is joined first: " + `{{ .Scopes | join " " | ` + name + " }}"}
	}
	p.encoder = encoders[name]
	return nil
}

// literal reads a quoted text in Go's syntax.
func (s *scanner) literal() (string, *fault) {
	begin := s.at
	quote := s.text[begin]
	for s.at++; s.at < len(s.text) && s.text[s.at] != quote; s.at++ {
		if quote != '"' {
			continue
		}
		if s.text[s.at] == '\n' {
			return "", &fault{begin, unclosedIn}
		}
		if s.text[s.at] == '\\' {
			s.at++
		}
	}
	if s.at >= len(s.text) {
		return "", &fault{begin, unclosedIn}
	}
	s.at++
	text, err := strconv.Unquote(s.text[begin:s.at])
	if err != nil {
		return "", &fault{begin, `a quoted text has a \ that Go's strings don't have: write \\ for a backslash`}
	}
	return text, nil
}

// word reads a name, which may be empty.
func (s *scanner) word() string {
	begin := s.at
	for s.at < len(s.text) && isWord(s.text[s.at]) {
		s.at++
	}
	return s.text[begin:s.at]
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func (s *scanner) skipSpace() {
	for s.spaceAt(s.at) {
		s.at++
	}
}

func (s *scanner) spaceAt(at int) bool {
	return at < len(s.text) && strings.IndexByte(space, s.text[at]) >= 0
}

func (s *scanner) startsWith(at int, prefix string) bool {
	return at <= len(s.text) && strings.HasPrefix(s.text[at:], prefix)
}
