package main

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// setScalars sets scalars of a YAML file, by their paths. Its comments, blank lines and order stay as they are.
func setScalars(content string, values map[string]string) (string, error) {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(content), &document); err != nil {
		return "", err
	}
	file := &template{kind: "the file", root: document.Content[0]}
	lines := strings.Split(content, "\n")
	for path, value := range values {
		node, err := file.at(strings.Split(path, ".")...)
		if err != nil {
			return "", err
		}
		was, err := written(node)
		if err != nil {
			return "", err
		}
		before, after := lines[node.Line-1][:node.Column-1], lines[node.Line-1][node.Column-1:]
		if !strings.HasPrefix(after, was) {
			return "", fmt.Errorf("line %d: %s is not written as %s", node.Line, path, was)
		}
		is, err := written(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Style: node.Style})
		if err != nil {
			return "", err
		}
		lines[node.Line-1] = before + is + strings.TrimPrefix(after, was)
	}
	return strings.Join(lines, "\n"), nil
}

// written returns a scalar as it is written in a file.
func written(node *yaml.Node) (string, error) {
	if node.Kind != yaml.ScalarNode || slices.Contains([]yaml.Style{yaml.LiteralStyle, yaml.FoldedStyle}, node.Style) {
		return "", fmt.Errorf("line %d: no scalar of one line", node.Line)
	}
	text, err := yaml.Marshal(&yaml.Node{Kind: yaml.ScalarNode, Tag: node.Tag, Value: node.Value, Style: node.Style})
	return strings.TrimSuffix(string(text), "\n"), err
}
