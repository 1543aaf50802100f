package gctuning

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	for name, test := range map[string]struct {
		file, content string
		want          int64
	}{
		"version 2":         {"memory.max", "1073741824\n", 1 << 30},
		"version 1":         {"memory/memory.limit_in_bytes", "536870912\n", 512 << 20},
		"no limit":          {"memory.max", "max\n", 0},
		"no control groups": {"something", "else", 0},
		"nonsense":          {"memory.max", "1Gi", 0},
	} {
		folder := t.TempDir()
		path := filepath.Join(folder, test.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok := memoryLimit(folder); got != test.want || ok != (test.want > 0) {
			t.Errorf("%s: %d, %v", name, got, ok)
		}
	}
}
