package need

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// program makes an executable file.
func program(t *testing.T, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestLook(t *testing.T) {
	top := t.TempDir()
	built := program(t, top, "bin", "tools", "one-that-is-built")
	onPath := program(t, top, "path", "one-on-the-path")
	programInAssets := program(t, top, "assets", "one-of-the-control-plane")
	named := program(t, top, "elsewhere", "browser")
	t.Setenv("BIN", filepath.Join(top, "bin"))
	t.Setenv("PATH", filepath.Join(top, "path"))
	t.Setenv(assets, filepath.Join(top, "assets"))
	t.Setenv("BROWSER_HERE", named)
	for name, test := range map[string]struct {
		item Item
		want string
	}{
		"built":                       {Item{Name: "one-that-is-built", Built: true}, built},
		"built, asked for as any":     {Item{Name: "one-that-is-built"}, built},
		"on the PATH":                 {Item{Name: "one-on-the-path"}, onPath},
		"on the PATH, not as pinned":  {Item{Name: "one-on-the-path", Built: true}, ""},
		"of the control plane":        {Item{Name: "one-of-the-control-plane", Folder: assets}, programInAssets},
		"on the PATH, not in assets":  {Item{Name: "one-on-the-path", Folder: assets}, ""},
		"in a folder that is not set": {Item{Name: "one-on-the-path", Folder: "FOLDER_NOWHERE"}, ""},
		"by a variable":               {Item{Name: "chromium", Variable: "BROWSER_HERE"}, named},
		"by a variable that is unset": {Item{Name: "one-on-the-path", Variable: "BROWSER_THERE"}, onPath},
		"nowhere":                     {Item{Name: "one-nowhere"}, ""},
		"works":                       {Item{Probe: func() error { return nil }}, "works"},
		"does not work":               {Item{Probe: func() error { return fs.ErrPermission }}, ""},
	} {
		path, err := test.item.Look()
		if err != nil {
			path = ""
		}
		if path != test.want {
			t.Errorf("%s: %q, %v; want %q", name, path, err, test.want)
		}
	}
}

// witness is a test that records how it ended.
type witness struct {
	testing.TB

	skipped, failed string
}

func (w *witness) Helper()                   {}
func (w *witness) Skip(args ...any)          { w.skipped, _ = args[0].(string) }
func (w *witness) Fatalf(_ string, _ ...any) { w.failed = "failed" }

func TestProgram(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("BIN", t.TempDir())
	t.Setenv("CHROMIUM", filepath.Join(t.TempDir(), "chromium"))
	t.Setenv(Require, "")
	w := &witness{}
	Program(w, "chromium")
	if Missing("    a_test.go:1: "+w.skipped) != "chromium" || !strings.Contains(w.skipped, "apt-get install chromium") ||
		w.failed != "" {
		t.Errorf("%+v", w)
	}
	t.Setenv(Require, "1")
	w = &witness{}
	Program(w, "chromium")
	if w.failed == "" {
		t.Errorf("with %s it does not fail: %+v", Require, w)
	}
	for nightly, fails := range map[string]bool{"": false, "1": true} {
		t.Setenv(Nightly, nightly)
		w = &witness{}
		Program(w, "contour")
		if (w.failed != "") != fails || w.skipped == "" {
			t.Errorf("with %s and %s=%q: %+v", Require, Nightly, nightly, w)
		}
	}
	if got := Missing("it rains"); got != "" {
		t.Errorf("another reason: %q", got)
	}
}

func TestAll(t *testing.T) {
	for i, item := range All {
		if item.Without == "" || item.How() == "" || len(item.Users) == 0 {
			t.Errorf("%s: what it is for, how to get it or who uses it is missing", item.Name)
		}
		if Find(item.Name).Without != item.Without ||
			slices.ContainsFunc(All[:i], func(o Item) bool { return o.Name == item.Name }) {
			t.Errorf("%s is there twice", item.Name)
		}
		for _, user := range item.Users {
			if _, err := os.Stat(filepath.Join(root(), user)); err != nil {
				t.Errorf("%s: %v", item.Name, err)
			}
		}
	}
}

var asked = regexp.MustCompile(`need\.(?:Program|ControlPlane)\([^)\n]*`)

// TestUsers reads which tests ask for what, so that a run of some of the tests brings what these need.
func TestUsers(t *testing.T) {
	found := 0
	for folder, text := range testsByFolder(t) {
		for _, call := range asked.FindAllString(text, -1) {
			for _, item := range All {
				if strings.Contains(call, `"`+item.Name+`"`) {
					found++
					if !item.UsedBy(folder) {
						t.Errorf("%s asks for %s, whose Users lack it", folder, item.Name)
					}
				}
			}
		}
	}
	if found < 8 {
		t.Errorf("only %d places found that ask for something", found)
	}
}

// TestControlPlanes checks that tests which start a control plane are skipped where there is none. install.ControlPlane
// sees to it.
func TestControlPlanes(t *testing.T) {
	found := 0
	for folder, text := range testsByFolder(t) {
		if !strings.Contains(text, "controlplane.Start(") {
			continue
		}
		found++
		if !strings.Contains(text, "need.ControlPlane(") {
			t.Errorf("%s starts a control plane without need.ControlPlane", folder)
		}
	}
	if found < 5 {
		t.Errorf("only %d folders found", found)
	}
}

// testsByFolder returns the texts of all tests except this package's.
func testsByFolder(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, top := range []string{"api", "cmd", "controllers", "hack", "internal"} {
		err := filepath.WalkDir(filepath.Join(root(), top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			folder, _ := filepath.Rel(root(), filepath.Dir(path))
			if folder != "internal/test/harness/need" {
				all[folder] += string(content)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}
