package main

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readme returns the chart's README: how to install it, and a row for each value with its default and its comment in
// values.yaml. A comment of a mapping is that of its values that have none.
func readme(values string) (string, error) {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(values), &document); err != nil {
		return "", err
	}
	var rows strings.Builder
	if err := valueRows(&rows, "", "", document.Content[0]); err != nil {
		return "", err
	}
	return "# apikey-operator\n\nAPI keys as Kubernetes resources, minted into Secrets and verified at the ingress. " +
		"Made by `make dist`; don't edit this file.\n\n```sh\nhelm install apikey-operator <this chart> " +
		"--namespace apikey-system --create-namespace\n```\n\n## Values\n\n| value | default | |\n|---|---|---|\n" +
		rows.String(), nil
}

// valueRows writes the rows of a mapping's values.
func valueRows(rows *strings.Builder, prefix, inherited string, mapping *yaml.Node) error {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		comment := inherited
		if key.HeadComment != "" {
			comment = plainComment(key.HeadComment)
		}
		path := prefix + key.Value
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && key.Value != "resources" {
			if err := valueRows(rows, path+".", comment, value); err != nil {
				return err
			}
			continue
		}
		text, err := oneLine(value)
		if err != nil {
			return err
		}
		fmt.Fprintf(rows, "| `%s` | `%s` | %s |\n", path, text, comment)
	}
	return nil
}

// plainComment returns a comment as text for a cell of a table. Only the last block of lines is about the value.
func plainComment(comment string) string {
	blocks := strings.Split(comment, "\n\n")
	var lines []string
	for line := range strings.SplitSeq(blocks[len(blocks)-1], "\n") {
		lines = append(lines, strings.Join(strings.Fields(strings.TrimPrefix(line, "#")), " "))
	}
	return strings.ReplaceAll(strings.Join(lines, " "), "|", `\|`)
}

// oneLine returns a value as YAML on one line.
func oneLine(value *yaml.Node) (string, error) {
	plain := *value
	var decoded any
	if err := plain.Decode(&decoded); err != nil {
		return "", err
	}
	var node yaml.Node
	if err := node.Encode(decoded); err != nil {
		return "", err
	}
	flow(&node)
	text, err := yaml.Marshal(&node)
	return string(bytes.TrimSpace(text)), err
}

// flow makes a value and what is in it be written on one line.
func flow(node *yaml.Node) {
	node.Style |= yaml.FlowStyle
	for _, below := range node.Content {
		flow(below)
	}
}
