package faults_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// sieve is an HTTP proxy between a verifier and the API server that drops single watch events and nothing else: the
// connection stays open, and the events before and after pass.
type sieve struct {
	server *httptest.Server
	// drops are texts that an event to drop has, all of them.
	drops atomic.Pointer[[]string]
	lost  atomic.Int64
}

func newSieve(t testing.TB, config *rest.Config) *sieve {
	t.Helper()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	s := &sieve{}
	forward := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // Watches are streams.
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		ModifyResponse: func(r *http.Response) error {
			if r.Request.URL.Query().Get("watch") != "" {
				r.Body = &sifted{sieve: s, lines: bufio.NewReader(r.Body), Closer: r.Body}
			}
			return nil
		},
	}
	s.server = httptest.NewServer(forward)
	t.Cleanup(func() {
		s.server.CloseClientConnections()
		s.server.Close()
	})
	return s
}

// lose drops the events that contain all of these texts.
func (s *sieve) lose(texts ...string) { s.drops.Store(&texts) }

// drop reports whether an event is to be dropped.
func (s *sieve) drop(event []byte) bool {
	texts := s.drops.Load()
	isMissing := func(text string) bool { return !bytes.Contains(event, []byte(text)) }
	return texts != nil && !slices.ContainsFunc(*texts, isMissing)
}

// kubeconfig writes a kubeconfig that leads through the sieve.
func (s *sieve) kubeconfig(t testing.TB) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["sieve"] = &clientcmdapi.Cluster{Server: s.server.URL}
	config.Contexts["sieve"] = &clientcmdapi.Context{Cluster: "sieve"}
	config.CurrentContext = "sieve"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	content, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sifted is the body of a watch, one event per line, without the dropped events.
type sifted struct {
	io.Closer
	sieve *sieve
	lines *bufio.Reader
	rest  []byte
}

// Read implements io.Reader.
func (s *sifted) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		line, err := s.lines.ReadBytes('\n')
		if err != nil {
			return 0, err
		}
		if s.sieve.drop(line) {
			s.sieve.lost.Add(1)
			continue
		}
		s.rest = line
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
