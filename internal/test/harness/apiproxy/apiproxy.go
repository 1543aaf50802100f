// Package apiproxy is a proxy between a process and the API server, for tests that count its writes or interfere with
// them.
package apiproxy

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Interference is what is done around a write. Nil functions do nothing.
type Interference struct {
	// Before is called instead of passing the write on.
	Before func()
	// After is called when the API server has committed the write, instead of passing on its answer.
	After func()
}

// Proxy is a proxy that passes everything on with the rights of a config.
type Proxy struct {
	server   *httptest.Server
	noLeases atomic.Bool
}

// CutLeases makes the proxy answer no request for leases any more, as if it could not reach the API server for them.
// All other requests pass.
func (p *Proxy) CutLeases() { p.noLeases.Store(true) }

// New starts a proxy. It calls onWrite for every write but those to leases and events, which say nothing about keys,
// one call at a time for each connection. The proxy is stopped when the test ends.
func New(t testing.TB, config *rest.Config, onWrite func(*http.Request) Interference) *Proxy {
	t.Helper()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // Watches are streams.
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	p := &Proxy{}
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isLease(r) && p.noLeases.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		var interference Interference
		if isWrite(r) {
			interference = onWrite(r)
		}
		switch {
		case interference.Before != nil:
			interference.Before()
		case interference.After != nil:
			forward.ServeHTTP(httptest.NewRecorder(), r)
			interference.After()
		default:
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		p.server.CloseClientConnections()
		p.server.Close()
	})
	return p
}

func isWrite(r *http.Request) bool {
	return r.Method != http.MethodGet && !r.URL.Query().Has("dryRun") && !strings.Contains(r.URL.Path, "/events") &&
		!isLease(r)
}

func isLease(r *http.Request) bool { return strings.Contains(r.URL.Path, "/leases") }

// Kubeconfig writes a kubeconfig for the proxy, which is removed when the test ends, and returns its path.
func (p *Proxy) Kubeconfig(t testing.TB) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["proxy"] = &clientcmdapi.Cluster{Server: p.server.URL}
	config.Contexts["proxy"] = &clientcmdapi.Context{Cluster: "proxy"}
	config.CurrentContext = "proxy"
	content, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
