package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAuditIsRotated renames the file, removes it, and makes it impossible to create another: every line is in one of
// the files.
func TestAuditIsRotated(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "audit.log")
	file, err := openAudit(path)
	if err != nil {
		t.Fatal(err)
	}
	log := &auditFile{path: path, file: file}
	written := 0
	write := func() {
		t.Helper()
		written++
		if _, err := fmt.Fprintf(log, "line %d\n", written); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write()
	write()
	must(os.Rename(path, path+".1"))
	write()
	must(os.Rename(path, path+".2"))
	must(os.Mkdir(path, 0o700)) // No file can be created by this name.
	write()
	must(os.Remove(path))
	write()
	want := map[string]string{".1": "line 1\nline 2\n", ".2": "line 3\nline 4\n", "": "line 5\n"}
	for suffix, lines := range want {
		content, err := os.ReadFile(path + suffix)
		if err != nil || string(content) != lines {
			t.Errorf("audit.log%s has %q, %v; want %q", suffix, content, err, lines)
		}
	}
	must(os.Remove(path))
	write()
	if content, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(content), "line 6") {
		t.Errorf("after the file was removed: %q, %v", content, err)
	}
}
