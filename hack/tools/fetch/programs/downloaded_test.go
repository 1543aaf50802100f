package programs

import (
	"strings"
	"testing"
)

// TestOnlyDownloaded checks that a program without a module is reported with the reason if it can't be downloaded, and
// that other programs are still brought.
func TestOnlyDownloaded(t *testing.T) {
	elsewhere := Program{Name: "prog", Dir: "tools", Version: "1", Downloads: []Download{
		{From: "release", Files: map[string]File{"plan9/mips": {}}},
	}}
	published := release("sha256:0", "http://127.0.0.1:1/a.tar.gz")
	for name, test := range map[string]struct {
		program  Program
		download bool
		want     string
	}{
		"no download for this platform": {elsewhere, true, "there is no download for " + platform()},
		"no download succeeds":          {published, true, "no download succeeded"},
		"downloads are forbidden":       {published, false, "FETCH_DOWNLOAD=no forbids downloads"},
	} {
		t.Run(name, func(t *testing.T) {
			w, other := checkout(t, good)
			other.Name = "other"
			w.b.Download = test.download
			err := w.b.Bring(t.Context(), nil, []Program{test.program, other})
			want := "prog 1 is not available here: there is no Go module to build it from, and " + test.want
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
			if !other.Present(w.bin) {
				t.Error("the program beside it is missing")
			}
			w.empty(test.program)
		})
	}
	if got := elsewhere.HowBrought(); got != "" {
		t.Errorf("a program that is not available on this platform is brought by %q", got)
	}
}
