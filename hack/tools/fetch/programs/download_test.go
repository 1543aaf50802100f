package programs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shortTimeout stands for Timeout.
const shortTimeout = 300 * time.Millisecond

// environment is a folder bin, with the downloader of one run of make.
type environment struct {
	*testing.T
	bin string
	d   *downloader
	b   *Bringer
	out *strings.Builder
}

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	w := &environment{T: t, bin: t.TempDir()}
	var progress *Progress
	progress, w.out = quiet(t)
	w.b = &Bringer{Bin: w.bin, Progress: progress, Download: true}
	w.nextRun()
	return w
}

// nextRun starts another run, which knows only what is in files.
func (e *environment) nextRun() {
	dir := filepath.Join(e.bin, ".downloads")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		e.Fatal(err)
	}
	e.d = newDownloader(dir, "http://127.0.0.1:1", e.b.Progress)
	e.d.timeout = shortTimeout
}

// release is a program that is published at some URLs.
func release(sum string, urls ...string) Program {
	p := Program{Name: "prog", Dir: "tools", Version: "1"}
	for _, url := range urls {
		p.Downloads = append(p.Downloads, Download{From: "release", Files: map[string]File{
			platform(): {Name: url, Sum: sum, Member: "prog"},
		}})
	}
	return p
}

// brings tries a program's downloads, checks whether one works, and returns how long that took.
func (e *environment) brings(p Program, want bool) time.Duration {
	e.Helper()
	started := time.Now()
	if got := e.b.tryDownloads(e.Context(), e.d, p); got != want {
		e.Fatalf("brought: %t, want %t. %s", got, want, e.out)
	}
	content, err := os.ReadFile(p.Path(e.bin))
	switch {
	case want && (err != nil || !bytes.Equal(content, program) || !p.Present(e.bin)):
		e.Fatalf("the program is not there: %v", err)
	case !want && (err == nil || p.Present(e.bin)):
		e.Fatal("the program was brought")
	}
	return time.Since(started)
}

func (e *environment) said(text string) {
	e.Helper()
	if !strings.Contains(e.out.String(), text) {
		e.Fatalf("said %q, without %q", e.out, text)
	}
}

func TestDownload(t *testing.T) {
	w, h := newEnvironment(t), newHost(t, tarball(t, "dir/prog"))
	p := release(sha256Of(h.content), h.URL+"/a.tar.gz")
	w.brings(p, true)
	if origin, err := os.ReadFile(p.origin(w.bin)); err != nil || string(origin) != "1\nrelease\n" {
		t.Errorf("%v, origin %q", err, origin)
	}
	if info, err := os.Stat(p.Path(w.bin)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v %v", info, err)
	}
	p.Version = "2"
	if p.Present(w.bin) {
		t.Error("another version is taken for the pinned one")
	}
	if err := w.d.clean(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(w.d.dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestShared checks that programs of one archive are downloaded once.
func TestShared(t *testing.T) {
	w, h := newEnvironment(t), newHost(t, tarball(t, "dir/prog"))
	p := release(sha256Of(h.content), h.URL+"/a.tar.gz")
	w.brings(p, true)
	p.Name = "other"
	p.Downloads[0].Files[platform()] = File{Name: h.URL + "/a.tar.gz", Sum: sha256Of(h.content), Member: "dir/prog"}
	w.brings(p, true)
	if n := h.requests.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestDifferent checks that an archive with another checksum is neither unpacked nor kept.
func TestDifferent(t *testing.T) {
	w, h := newEnvironment(t), newHost(t, tarball(t, "dir/prog"))
	p := release(sha256Of([]byte("another")), h.URL+"/a.tar.gz")
	w.brings(p, false)
	w.said("its checksum is not the pinned one")
	if left, _ := os.ReadDir(w.d.dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if n := h.requests.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
	good := release(sha256Of(h.content), h.URL+"/a.tar.gz")
	w.brings(good, true)
}

// TestFailures checks that each failure costs no more than the timeout, and that a host that has failed is not asked
// again in the same run.
func TestFailures(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(*host) func()
		said   string
	}{
		"refused":      {func(h *host) func() { return func() { h.answer = h.refuses } }, "403"},
		"silent":       {func(h *host) func() { return func() { h.answer = h.silent } }, "it hangs"},
		"stops":        {func(h *host) func() { return func() { h.answer = h.stops } }, "it hangs"},
		"trickles":     {func(h *host) func() { return func() { h.answer = h.trickles } }, "it hangs"},
		"breaks":       {func(h *host) func() { return func() { h.answer = h.breaks } }, "unexpected EOF"},
		"not there":    {func(h *host) func() { return h.Close }, "connection refused"},
		"other format": {func(h *host) func() { return func() { h.content = []byte("<html>") } }, "checksum"},
	} {
		t.Run(name, func(t *testing.T) {
			w, h := newEnvironment(t), newHost(t, tarball(t, "dir/prog"))
			p := release(sha256Of(h.content), h.URL+"/a.tar.gz", h.URL+"/b.tar.gz")
			test.answer(h)()
			if took := w.brings(p, false); took > 4*shortTimeout {
				t.Errorf("took %s", took)
			}
			w.said(test.said)
			if n := h.requests.Load(); n > 1 && name != "other format" {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestNoConnection checks that a host that doesn't accept connections is treated like one that hangs.
func TestNoConnection(t *testing.T) {
	w := newEnvironment(t)
	p := release(sha256Of(nil), unreachable(t)+"/a.tar.gz")
	if took := w.brings(p, false); took > 4*shortTimeout {
		t.Errorf("took %s", took)
	}
	w.said("it hangs")
}

// TestNextSource checks that a program is taken from the second host if the first doesn't have it.
func TestNextSource(t *testing.T) {
	w, bad, good := newEnvironment(t), newHost(t, nil), newHost(t, tarball(t, "dir/prog"))
	bad.answer = bad.silent
	w.brings(release(sha256Of(good.content), bad.URL+"/a.tar.gz", good.URL+"/a.tar.gz"), true)
}

// TestResumed checks that the next run continues an interrupted download, whatever interrupted it.
func TestResumed(t *testing.T) {
	for name, interrupt := range map[string]func(*host){
		"stops":  func(h *host) { h.answer = h.stops },
		"breaks": func(h *host) { h.answer = h.breaks },
	} {
		t.Run(name, func(t *testing.T) {
			w, h := newEnvironment(t), newHost(t, tarball(t, "dir/prog"))
			p := release(sha256Of(h.content), h.URL+"/a.tar.gz")
			interrupt(h)
			w.brings(p, false)
			h.answer = h.whole
			w.nextRun()
			w.brings(p, true)
			if got := h.bytes.Load(); got > int64(len(h.content))*3/4 {
				t.Errorf("the second run asked for %d of %d bytes", got, len(h.content))
			}
		})
	}
}

// TestRestarted checks that a download starts over if the host can't continue it, or if an earlier run left something
// else.
func TestRestarted(t *testing.T) {
	content := tarball(t, "dir/prog")
	for name, left := range map[string][]byte{
		"half":     content[:len(content)/2],
		"damaged":  bytes.Repeat([]byte("x"), len(content)/2),
		"too long": append(bytes.Clone(content), "more"...),
		"complete": content,
	} {
		for _, ignorant := range []bool{false, true} {
			w, h := newEnvironment(t), newHost(t, content)
			if ignorant {
				h.answer = h.ignorant
			}
			p := release(sha256Of(content), h.URL+"/a.tar.gz")
			part := filepath.Join(w.d.dir, partName(sha256Of(content))+".part")
			if err := os.WriteFile(part, left, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Log(name, ignorant)
			w.brings(p, true)
		}
	}
}

// TestWheel checks that the index says where a wheel is, in either form, and that its checksums are not trusted.
func TestWheel(t *testing.T) {
	content := wheelFile(t, "prog-1.data/scripts/prog")
	for name, page := range map[string]struct{ kind, text string }{
		"JSON": {"application/vnd.pypi.simple.v1+json", `{"files": [{"filename": "prog-1-other.whl", "url": "x"},
			{"filename": "prog-1-any.whl", "url": "../../files/prog-1-any.whl", "hashes": {"sha256": "of no interest"}}]}`},
		"HTML": {
			"text/html",
			`<a href="x">prog-1-other.whl</a> ` +
				`<a data-x="1" href="../../files/prog-1-any.whl?a=1&amp;b=2#sha256=0">prog-1-any.whl</a>`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, h := newEnvironment(t), newHost(t, content)
			h.Config.Handler = pages(h, page.kind, page.text)
			w.d.index = h.URL + "/simple"
			p := release("")
			p.Downloads = []Download{{From: "wheel", Project: "prog", Files: map[string]File{
				platform(): {Name: "prog-1-any.whl", Sum: sha256Of(content), Member: "prog-1.data/scripts/prog"},
			}}}
			w.brings(p, true)

			other := newEnvironment(t)
			other.d.index = h.URL + "/simple"
			p.Downloads[0].Files[platform()] = File{
				Name: "prog-1-any.whl", Sum: sha256Of(nil), Member: "prog-1.data/scripts/prog",
			}
			other.brings(p, false)
			other.said("checksum")
		})
	}
}

// TestNoMember checks that an archive without the program counts as no download.
func TestNoMember(t *testing.T) {
	w, h := newEnvironment(t), newHost(t, tarball(t, "dir/else"))
	w.brings(release(sha256Of(h.content), h.URL+"/a.tar.gz"), false)
	w.said("the archive has no prog")
}

func TestIndexOfPip(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pip.conf")
	if err := os.WriteFile(file, []byte("[global]\ntimeout = 5\nindex-url = https://index.example/simple\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PIP_INDEX_URL", "")
	t.Setenv("PIP_CONFIG_FILE", file)
	if got := pythonIndex(); got != "https://index.example/simple" {
		t.Error(got)
	}
	t.Setenv("PIP_INDEX_URL", "https://other.example/simple")
	if got := pythonIndex(); got != "https://other.example/simple" {
		t.Error(got)
	}
}

func TestUnknownAlgorithm(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sum := range []string{"", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:"} {
		if err := check(file, sum); err == nil {
			t.Errorf("%q passes", sum)
		}
	}
	if err := check(file, "sha256:"); !errors.Is(err, errDiffers) {
		t.Error(err)
	}
}
