package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// TestDrawing checks that the drawing in docs matches the data beside it.
func TestDrawing(t *testing.T) {
	docs := filepath.Join(controlplane.Root(), "docs")
	data, err := os.ReadFile(filepath.Join(docs, "scale.json"))
	if err != nil {
		t.Fatal(err)
	}
	drawing, err := os.ReadFile(filepath.Join(docs, "scale.svg"))
	if err != nil {
		t.Fatal(err)
	}
	var costs []clusterCost
	if err := json.Unmarshal(data, &costs); err != nil {
		t.Fatal(err)
	}
	if string(drawing) != drawingOf(costs) {
		t.Error("docs/scale.svg is not the drawing of docs/scale.json: run \"make bench-plot\"")
	}
}
