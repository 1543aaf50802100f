// Package secretdata renders the templates that an ApiKey has for the data of its Secret. It is pure.
package secretdata

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"
)

// MaxRendered is the most that all templates of a key may come to: a Secret holds 1 MiB in all.
const MaxRendered = 512 << 10

// Fields are what templates may use.
type Fields struct {
	Token, Authorization         string
	TenantID, APIBaseURL         string
	Prefix, ExpiresAt            string
	Namespace, Name, DisplayName string
	Scopes                       []string
}

// Render renders one template into at most room bytes. The error never holds the token. Templates have no functions but text/template's own, and no loops,
// so each takes a time that its length bounds.
func Render(text string, f *Fields, room int) ([]byte, error) {
	parsed, err := template.New("template").Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, err
	}
	if err := withoutLoops(parsed); err != nil {
		return nil, err
	}
	out := &limited{room: room}
	if err := parsed.Execute(out, *f); err != nil {
		// What a template's function says of its arguments may quote them, and the token can be one.
		return nil, errors.New(strings.ReplaceAll(err.Error(), f.Token, "[redacted]"))
	}
	return out.Bytes(), nil
}

// withoutLoops refuses what makes a template's time depend on more than its length.
func withoutLoops(t *template.Template) error {
	if len(t.Templates()) > 1 {
		return errors.New("define and block are not supported")
	}
	return walk(t.Root)
}

func walk(node parse.Node) error {
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, child := range n.Nodes {
			if err := walk(child); err != nil {
				return err
			}
		}
	case *parse.IfNode:
		return errors.Join(walk(n.List), walk(n.ElseList))
	case *parse.WithNode:
		return errors.Join(walk(n.List), walk(n.ElseList))
	case *parse.RangeNode:
		return fmt.Errorf("line %d: range is not supported; scopes are printed by {{index .Scopes 0}} or {{.Scopes}}", n.Line)
	case *parse.TemplateNode:
		return fmt.Errorf("line %d: template is not supported", n.Line)
	}
	return nil
}

// limited is a buffer that refuses to grow beyond its room.
type limited struct {
	bytes.Buffer
	room int
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > l.room {
		return 0, fmt.Errorf("the Secret's data would be larger than %d KiB", MaxRendered>>10)
	}
	return l.Buffer.Write(p)
}
