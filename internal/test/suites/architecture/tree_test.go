// Package architecture_test compares docs/architecture.md and docs/contributing.md with the tree that they describe. It
// only reads files.
package architecture_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	architecture = "docs/architecture.md"
	contributing = "docs/contributing.md"

	// root is the top of the tree: go test runs a package's tests in its folder.
	root = "../../../.."
)

// written matches the files that people write: code, scripts, manifests and pages.
var written = regexp.MustCompile(`\.(go|md|sh|ya?ml|html|js|css)$|^(.*/)?(Makefile|Dockerfile)$|^\.ci/run$`)

// notWritten are folders without such files: what is built, and what others wrote.
var notWritten = []string{".git", "bin", "dist", "node_modules", "testdata"}

// file is a file of the tree.
type file struct {
	path string // relative to the top, with slashes
	text string
}

// tree returns the files that people write.
func tree(t *testing.T) []file {
	t.Helper()
	var all []file
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains(notWritten, entry.Name()) {
			return filepath.SkipDir
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		if !entry.Type().IsRegular() || !written.MatchString(relative) {
			return nil
		}
		text, err := os.ReadFile(name)
		all = append(all, file{relative, string(text)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 500 {
		t.Fatalf("only %d files found", len(all))
	}
	return all
}

// line returns the number of the line at an offset.
func (f file) line(offset int) int { return strings.Count(f.text[:offset], "\n") + 1 }

// packages returns the folders with Go files below some folders of the top.
func packages(files []file, tops ...string) []string {
	var folders []string
	for _, f := range files {
		top, _, _ := strings.Cut(f.path, "/")
		if folder := path.Dir(f.path); path.Ext(f.path) == ".go" && slices.Contains(tops, top) &&
			!slices.Contains(folders, folder) {
			folders = append(folders, folder)
		}
	}
	slices.Sort(folders)
	return folders
}

// exists reports whether there is a file or folder of a path in the tree.
func exists(name string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil
}

// prose returns a page without its blocks of code.
func prose(t *testing.T, page string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	inBlock := false
	var kept strings.Builder
	for line := range strings.Lines(string(content)) {
		if strings.HasPrefix(line, "```") {
			inBlock = !inBlock
		} else if !inBlock {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// section returns the part of a page below a heading, with its subsections and without its blocks of code.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	level, inside := strings.Index(heading, " "), false
	var kept strings.Builder
	for line := range strings.Lines(prose(t, page)) {
		marks := len(line) - len(strings.TrimLeft(line, "#"))
		switch {
		case strings.TrimSpace(line) == heading:
			inside = true
		case marks > 0 && marks <= level:
			inside = false
		case inside:
			kept.WriteString(line)
		}
	}
	if kept.Len() == 0 {
		t.Fatalf("%s has nothing below %q", page, heading)
	}
	return kept.String()
}

// rows returns the cells of the rows of all tables in a text, without heads.
func rows(text string) [][]string {
	var all [][]string
	before := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
		case strings.Trim(line, "|- ") == "" && strings.Contains(line, "-"):
			if before != "" {
				all = all[:len(all)-1] // The line before it is the table's head.
			}
		default:
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			all = append(all, cells)
		}
		before = line
	}
	return all
}
