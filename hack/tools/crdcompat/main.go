// Command crdcompat reports what in the CustomResourceDefinitions would break objects, manifests or programs that the
// last release served: what that accepted and these would refuse, and what it had and these lack.
//
//	crdcompat hack/tools/crdcompat/released config/crd/bases [hack/tools/crdcompat/accepted.txt]
//
// It prints a line for each such change, and exits with 1 if any of them is not accepted. A change that it doesn't know
// to be harmless is reported.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	if len(os.Args) != 3 && len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: crdcompat FOLDER-OF-THE-LAST-RELEASE FOLDER [FILE-OF-ACCEPTED-BREAKS]")
		os.Exit(2)
	}
	breaks, err := compareFolders(os.Args[1], os.Args[2])
	if err == nil && len(os.Args) == 4 {
		breaks, err = withoutAccepted(breaks, os.Args[3])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "crdcompat: %v\n", err)
		os.Exit(2)
	}
	for _, line := range breaks {
		fmt.Println(line)
	}
	if len(breaks) > 0 {
		fmt.Fprintf(os.Stderr,
			"crdcompat: %d changes break what the last release served: take them back, or add a version of the kind beside "+
				"the old one\n", len(breaks))
		os.Exit(1)
	}
	fmt.Println("CRDs: compatible with the last release")
}

// compareFolders compares the files of two folders by name. Files that only the newer folder has are new CRDs.
func compareFolders(older, newer string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(older, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(fmt.Errorf("%s has no CustomResourceDefinitions", older), err)
	}
	var breaks []string
	for _, file := range files {
		before, err := read(file)
		if err != nil {
			return nil, err
		}
		after, err := read(filepath.Join(newer, filepath.Base(file)))
		if errors.Is(err, fs.ErrNotExist) {
			breaks = append(breaks, filepath.Base(file)+": the kind is gone")
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, change := range compare(before, after) {
			breaks = append(breaks, filepath.Base(file)+": "+change)
		}
	}
	return breaks, nil
}

// withoutAccepted leaves out the breaks whose beginnings a file lists. A line that no break begins with is an error.
func withoutAccepted(breaks []string, path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // It was only read.
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(breaks), func(found string) bool { return strings.HasPrefix(found, line) })
		if len(others) == len(breaks) {
			return nil, fmt.Errorf("%s: nothing is broken that begins with %q", path, line)
		}
		breaks = others
	}
	return breaks, lines.Err()
}

// read reads a manifest.
func read(path string) (object, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	manifest := object{}
	if err := yaml.Unmarshal(content, &manifest); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return manifest, nil
}
