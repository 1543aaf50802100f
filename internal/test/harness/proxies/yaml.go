package proxies

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Node is a mapping of a YAML document.
type Node = map[string]any

// At returns the mapping at a path of keys and indexes.
func At(t testing.TB, in Node, path ...string) Node {
	t.Helper()
	var value any = in
	for _, step := range path {
		switch inner := value.(type) {
		case Node:
			value = inner[step]
		case []any:
			index, err := strconv.Atoi(step)
			if err != nil || index >= len(inner) {
				t.Fatalf("no %s: there is no element %s", strings.Join(path, "."), step)
			}
			value = inner[index]
		}
	}
	found, ok := value.(Node)
	if !ok {
		t.Fatalf("no %s, but %v", strings.Join(path, "."), value)
	}
	return found
}

// List returns the mappings of a list.
func List(t testing.TB, in Node, key string) (all []Node) {
	t.Helper()
	items, _ := in[key].([]any)
	for _, item := range items {
		element, ok := item.(Node)
		if !ok {
			t.Fatalf("%s has an element that is no mapping: %v", key, item)
		}
		all = append(all, element)
	}
	if len(all) == 0 {
		t.Fatalf("no %s", key)
	}
	return all
}

// Clone returns a deep copy of a mapping.
func Clone(t testing.TB, in Node) Node {
	t.Helper()
	content, err := yaml.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Node
	if err := yaml.Unmarshal(content, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func parseYAML(t testing.TB, text string) (object Node) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	return object
}

func writeYAML(t testing.TB, path string, object any) {
	t.Helper()
	content, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
