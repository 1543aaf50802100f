package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// template is an object of Kubernetes as a tree of YAML, in which some nodes stand for actions of a Helm template. It
// is edited as YAML, and only when it is written do the actions take the places of their nodes:
//
//	replicas: helm-action-0-    becomes    replicas: {{ .Values.verifier.replicas }}
//	helm-action-1-: null        becomes    {{- if .Values.tls }}
//	- helm-action-2-            becomes    {{- end }}
type template struct {
	kind, name string
	root       *yaml.Node
	actions    []string
}

// parse parses manifests.
func parse(manifests []byte) ([]*template, error) {
	var all []*template
	for decoder := yaml.NewDecoder(bytes.NewReader(manifests)); ; {
		var document yaml.Node
		switch err := decoder.Decode(&document); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		t := &template{root: document.Content[0]}
		kind, err := t.at("kind")
		if err != nil {
			return nil, err
		}
		name, err := t.at("metadata", "name")
		if err != nil {
			return nil, err
		}
		t.kind, t.name = kind.Value, name.Value
		all = append(all, t)
	}
}

// at returns the node at a path: keys of mappings, and indices of sequences or the names of their elements.
func (t *template) at(path ...string) (*yaml.Node, error) {
	node := t.root
	for i, step := range path {
		next := child(node, step)
		if next == nil {
			return nil, fmt.Errorf("%s %s has no %s", t.kind, t.name, strings.Join(path[:i+1], "."))
		}
		node = next
	}
	return node, nil
}

// child returns a value of a mapping by its key, or an element of a sequence by its index or its name.
func child(node *yaml.Node, step string) *yaml.Node {
	if node.Kind == yaml.MappingNode {
		if i := index(node, step); i >= 0 {
			return node.Content[i+1]
		}
		return nil
	}
	for i, element := range node.Content {
		if step == strconv.Itoa(i) {
			return element
		}
		if element.Kind == yaml.MappingNode {
			if name := child(element, "name"); name != nil && name.Value == step {
				return element
			}
		}
	}
	return nil
}

// index returns the position of a key in a mapping, or -1.
func index(mapping *yaml.Node, key string) int {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// action returns a scalar that stands for an action. An action of several lines, or one that is a whole line, starts
// with {{-.
func (t *template) action(format string, args ...any) *yaml.Node {
	t.actions = append(t.actions, fmt.Sprintf(format, args...))
	return scalar(fmt.Sprintf("helm-action-%d-", len(t.actions)-1))
}

func scalar(value string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: value} }

// line returns an entry of a mapping that stands for an action on a line of its own.
func (t *template) line(format string, args ...any) []*yaml.Node {
	return []*yaml.Node{t.action(format, args...), {Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}}
}

// set replaces the value at a path with an action.
func (t *template) set(action string, path ...string) error {
	node, err := t.at(path...)
	if err != nil {
		return err
	}
	*node = *t.action("%s", action)
	return nil
}

// add appends lines of a template to the mapping or the sequence at a path. The first starts with {{-.
func (t *template) add(lines string, path ...string) error {
	node, err := t.at(path...)
	if err != nil {
		return err
	}
	if node.Kind == yaml.SequenceNode {
		node.Content = append(node.Content, t.action("%s", lines))
	} else {
		node.Content = append(node.Content, t.line("%s", lines)...)
	}
	return nil
}

// addOnly appends an entry that depends on a condition to the mapping at a path.
func (t *template) addOnly(condition, key string, value any, path ...string) error {
	if err := t.addEntry(key, value, path...); err != nil {
		return err
	}
	return t.only(condition, key, path...)
}

// only makes an entry of the mapping at a path depend on a condition.
func (t *template) only(condition, key string, path ...string) error {
	node, err := t.at(path...)
	if err != nil {
		return err
	}
	i := index(node, key)
	if i < 0 {
		return fmt.Errorf("%s %s: %s has no %s", t.kind, t.name, strings.Join(path, "."), key)
	}
	entry := slices.Concat(t.line("{{- if %s }}", condition), node.Content[i:i+2], t.line("{{- end }}"))
	rest := node.Content[i+2:]
	if i == 0 { // A sequence's element begins with its first entry, so an entry that may be missing moves to the end.
		entry, rest = rest, entry
	}
	node.Content = slices.Concat(node.Content[:i], entry, rest)
	return nil
}

// choose makes consecutive elements of the sequence at a path depend on a condition, with other elements in their place
// if it is false.
func (t *template) choose(condition string, elements, otherwise []string, path ...string) error {
	node, err := t.at(path...)
	if err != nil {
		return err
	}
	from, given := find(node.Content, elements), elements
	if from < 0 {
		from, given = find(node.Content, otherwise), otherwise
	}
	if from < 0 {
		return fmt.Errorf("%s %s: %s has neither %q nor %q", t.kind, t.name, strings.Join(path, "."), elements, otherwise)
	}
	chosen := slices.Concat([]*yaml.Node{t.action("{{- if %s }}", condition)}, scalars(elements))
	if len(otherwise) > 0 {
		chosen = slices.Concat(chosen, []*yaml.Node{t.action("{{- else }}")}, scalars(otherwise))
	}
	chosen = append(chosen, t.action("{{- end }}"))
	node.Content = slices.Concat(node.Content[:from], chosen, node.Content[from+len(given):])
	return nil
}

// find returns the position of consecutive values in a sequence, or -1.
func find(content []*yaml.Node, values []string) int {
	for from := 0; len(values) > 0 && from+len(values) <= len(content); from++ {
		if slices.EqualFunc(content[from:from+len(values)], values, func(n *yaml.Node, value string) bool {
			return n.Value == value
		}) {
			return from
		}
	}
	return -1
}

func scalars(values []string) []*yaml.Node {
	var all []*yaml.Node
	for _, value := range values {
		all = append(all, scalar(value))
	}
	return all
}

// namespace is the namespace in config/. The chart replaces it with the release's.
const namespace = "apikey-system"

// These match the marks that stand for actions: a whole line, or a part of one.
var (
	ownLine = regexp.MustCompile(`(?m)^( *)(?:- )?helm-action-(\d+)-(?:: null)?$`)
	inLine  = regexp.MustCompile(`helm-action-(\d+)-`)
)

// plain returns the object as YAML, with nothing replaced.
func (t *template) plain() (string, error) {
	var out strings.Builder
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent()
	err := encoder.Encode(t.root)
	return out.String(), err
}

// text returns the template as Helm reads it.
func (t *template) text() (string, error) {
	t.replace(t.root)
	encoded, err := t.plain()
	if err != nil {
		return "", err
	}
	action := func(number string) string {
		i, err := strconv.Atoi(number)
		if err != nil || i >= len(t.actions) {
			return ""
		}
		return t.actions[i]
	}
	text := ownLine.ReplaceAllStringFunc(encoded, func(match string) string {
		parts := ownLine.FindStringSubmatch(match)
		if !strings.HasPrefix(action(parts[2]), "{{-") { // An element of a sequence, not a line between elements.
			return match
		}
		return indent(action(parts[2]), parts[1])
	})
	return inLine.ReplaceAllStringFunc(text, func(match string) string {
		return action(inLine.FindStringSubmatch(match)[1])
	}), nil
}

// replace escapes texts so that Helm renders them unchanged, apart from the namespace: {{ that is no action is quoted.
func (t *template) replace(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode {
		value := node.Value
		if strings.Contains(value, "{{") {
			value = strings.ReplaceAll(value, "{{", t.action("{{ `{{` }}").Value)
		}
		if strings.Contains(value, namespace) {
			value = strings.ReplaceAll(value, namespace, t.action("{{ .Release.Namespace }}").Value)
		}
		node.Value = value
	}
	for _, below := range node.Content {
		t.replace(below)
	}
}

// indent indents each line of a text.
func indent(text, blanks string) string {
	return blanks + strings.ReplaceAll(text, "\n", "\n"+blanks)
}
