package released

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// Release is a version of the project that people have installed.
type Release struct {
	// Version is its tag, and Commit the full ID of the commit that it was made of.
	Version, Commit string
}

// line matches a line of hack/releases.txt.
var line = regexp.MustCompile(`^(v\d+\.\d+\.\d+\S*) ([0-9a-f]{40})$`)

// All returns every release, oldest first, as hack/releases.txt has them.
func All(t testing.TB) []Release {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(controlplane.Root(), "hack", "releases.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var all []Release
	for text := range strings.Lines(string(content)) {
		text = strings.TrimSpace(text)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		fields := line.FindStringSubmatch(text)
		if fields == nil {
			t.Fatalf("hack/releases.txt: %q is not a version and a commit", text)
		}
		all = append(all, Release{Version: fields[1], Commit: fields[2]})
	}
	if len(all) == 0 {
		t.Fatal("hack/releases.txt has no release")
	}
	return all
}

// Source is the files of a release.
type Source struct {
	Release

	// Folder is where they are.
	Folder string
}

// Last returns the source of the last release, in a folder that goes with the test. It fails in a clone that lacks the
// release's commit.
func Last(t testing.TB) *Source {
	t.Helper()
	all := All(t)
	s := &Source{Release: all[len(all)-1], Folder: t.TempDir()}
	archive := filepath.Join(t.TempDir(), "source.tar")
	for _, command := range [][]string{
		{"git", "archive", "--format=tar", "--output=" + archive, s.Commit},
		{"tar", "-x", "-f", archive, "-C", s.Folder},
	} {
		if out, err := run(t, controlplane.Root(), command...); err != nil {
			t.Fatalf("the source of %s, commit %s: %v\n%s\nIn a shallow clone: git fetch --unshallow", s.Version, s.Commit,
				err, out)
		}
	}
	return s
}

// Build builds a command of the release, such as ./cmd/controller, and returns the path of its binary.
func (s *Source) Build(t testing.TB, command string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), filepath.Base(command))
	out, err := run(t, s.Folder, "go", "build", "-trimpath", "-buildvcs=false", "-o", binary, command)
	if err != nil {
		t.Fatalf("building %s of %s: %v\n%s", command, s.Version, err, out)
	}
	return binary
}

func run(t testing.TB, folder string, command ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), command[0], command[1:]...)
	c.Dir = folder
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := c.CombinedOutput()
	return string(out), err
}
