package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// addEntry appends an entry to the mapping at a path.
func (t *template) addEntry(key string, value any, path ...string) error {
	node, err := t.at(path...)
	if err != nil {
		return err
	}
	var added yaml.Node
	if err := added.Encode(value); err != nil {
		return err
	}
	node.Content = append(node.Content, scalar(key), &added)
	return nil
}

// extend makes the elements of the sequence under a key depend on a condition, and appends the elements of a value. The
// key is rendered if either is. Depth is the indentation of the elements.
func (t *template) extend(condition, key, value string, depth int, path ...string) error {
	node, err := t.at(slices.Concat(path, []string{key})...)
	if err != nil {
		return err
	}
	all := node.Content
	if condition != "" {
		all = slices.Concat([]*yaml.Node{t.action("{{- if %s }}", condition)}, all, []*yaml.Node{t.action("{{- end }}")})
	}
	node.Content = append(slices.Clone(all),
		t.action("{{- with %s }}\n{{- toYaml . | nindent %d }}\n{{- end }}", value, depth))
	if condition == "" {
		return nil
	}
	return t.only("or ("+condition+") "+value, key, path...)
}

// replaceAll puts an action in the place of a text, wherever it is. It must be somewhere.
func (t *template) replaceAll(text, action string) error {
	mark, found := t.action("%s", action).Value, false
	var visit func(*yaml.Node)
	visit = func(node *yaml.Node) {
		if node.Kind == yaml.ScalarNode && strings.Contains(node.Value, text) {
			node.Value, found = strings.ReplaceAll(node.Value, text, mark), true
		}
		for _, below := range node.Content {
			visit(below)
		}
	}
	visit(t.root)
	if !found {
		return fmt.Errorf("%s %s has no %q", t.kind, t.name, text)
	}
	return nil
}

// instead replaces an entry of the mapping at a path by a value, if that is set. Depth is the indentation of its
// content.
func (t *template) instead(value, key string, depth int, path ...string) error {
	return errors.Join(
		t.only("not "+value, key, path...),
		t.add(fmt.Sprintf("{{- with %s }}\n%s:\n{{- toYaml . | nindent %d }}\n{{- end }}", value, key, depth), path...),
	)
}

// label adds the labels that Kubernetes and Helm recommend, and those that the values give every object.
func (t *template) label() error {
	metadata, err := t.at("metadata")
	if err != nil {
		return err
	}
	labels := child(metadata, "labels")
	if labels == nil {
		labels = &yaml.Node{Kind: yaml.MappingNode}
		metadata.Content = append(metadata.Content, scalar("labels"), labels)
	}
	for _, name := range []string{"app.kubernetes.io/name", "app.kubernetes.io/part-of"} {
		if child(labels, name) == nil {
			labels.Content = append(labels.Content, scalar(name), scalar("apikey-operator"))
		}
	}
	labels.Content = append(labels.Content, t.line("%s", `{{- include "apikey-operator.labels" $ | nindent 4 }}`)...)
	return nil
}
