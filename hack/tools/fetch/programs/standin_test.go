package programs

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// program is the content of the archives of these tests: long and hard to compress, like a program.
var program = func() []byte {
	content := make([]byte, 1<<20)
	source := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		content[i] = byte(source.Uint32())
	}
	return content
}()

func tarball(t *testing.T, member string) []byte {
	t.Helper()
	var buffer bytes.Buffer
	compressed := gzip.NewWriter(&buffer)
	archive := tar.NewWriter(compressed)
	for name, content := range map[string][]byte{"dir/README": []byte("no program"), member: program} {
		if err := archive.WriteHeader(&tar.Header{
			Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg,
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := compressed.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func wheelFile(t *testing.T, member string) []byte {
	t.Helper()
	var buffer bytes.Buffer
	archive := zip.NewWriter(&buffer)
	writer, err := archive.Create(member)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func sha256Of(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// host is a publisher's host. A test chooses how it answers.
type host struct {
	*httptest.Server
	content  []byte
	requests atomic.Int32
	bytes    atomic.Int64
	answer   http.HandlerFunc
}

func newHost(t *testing.T, content []byte) *host {
	t.Helper()
	h := &host{content: content}
	h.answer = h.whole
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.requests.Add(1)
		h.answer(w, r)
	}))
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
	})
	return h
}

// whole answers with the content, or with the requested part of it.
func (h *host) whole(w http.ResponseWriter, r *http.Request) {
	counting := &counter{ResponseWriter: w, bytes: &h.bytes}
	http.ServeContent(counting, r, "archive", time.Time{}, bytes.NewReader(h.content))
}

// ignorant answers with the whole content, even if only a part was requested.
func (h *host) ignorant(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(h.content) }

func (h *host) refuses(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "no", http.StatusForbidden)
}

// silent accepts a request and sends nothing.
func (h *host) silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// stops sends half of the content, and then nothing more.
func (h *host) stops(w http.ResponseWriter, r *http.Request) {
	h.half(w)
	<-r.Context().Done()
}

// breaks sends half of the content and closes the connection.
func (h *host) breaks(w http.ResponseWriter, _ *http.Request) {
	h.half(w)
	panic(http.ErrAbortHandler)
}

// trickles keeps sending, too slowly to ever end.
func (h *host) trickles(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", fmt.Sprint(len(h.content)))
	for i := range h.content {
		_, _ = w.Write(h.content[i : i+1])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (h *host) half(w http.ResponseWriter) {
	w.Header().Set("Content-Length", fmt.Sprint(len(h.content)))
	_, _ = w.Write(h.content[:len(h.content)/2])
	_ = http.NewResponseController(w).Flush()
}

type counter struct {
	http.ResponseWriter
	bytes *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.bytes.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// unreachable returns an address that never accepts a connection: the queue of its socket is full.
func unreachable(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
		syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	bound, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		t.Fatal(name)
	}
	address := fmt.Sprintf("127.0.0.1:%d", bound.Port)
	for range 16 {
		connection, err := net.DialTimeout("tcp", address, shortTimeout/3)
		if err != nil {
			return "http://" + address
		}
		t.Cleanup(func() { _ = connection.Close() })
	}
	t.Skip("this system connects however long the queue is")
	return ""
}

// quiet is a progress whose output a test can read.
func quiet(t *testing.T) (*Progress, *strings.Builder) {
	t.Helper()
	var out strings.Builder
	p := NewProgress(&out, false)
	t.Cleanup(p.Close)
	return p, &out
}

// pages serves the index below /simple, and the files elsewhere.
func pages(h *host, kind, text string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/simple/prog/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write([]byte(text))
	})
	mux.HandleFunc("/files/", h.whole)
	return mux
}
