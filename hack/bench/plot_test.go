package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// TestDrawing checks that the drawing in docs is that of the data beside it.
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
	var footings []footing
	if err := json.Unmarshal(data, &footings); err != nil {
		t.Fatal(err)
	}
	if string(drawing) != drawingOf(footings) {
		t.Error("docs/scale.svg is not the drawing of docs/scale.json: run \"make bench-plot\"")
	}
}
