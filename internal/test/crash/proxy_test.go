package crash_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// moment is when, relative to a write, the controller dies.
type moment string

const (
	// beforeWrite is when the controller has decided to write, and the API server has not seen it.
	beforeWrite moment = "before"
	// afterWrite is when the API server has committed, and the controller has not seen the answer.
	afterWrite moment = "after"
)

// assassin is a proxy between a controller and the API server that kills the controller at one of its writes.
type assassin struct {
	server *httptest.Server

	mu sync.Mutex
	// seen are the writes since it was armed, such as "POST secrets".
	seen   []string
	armed  bool
	target int
	moment moment
	kill   func()
}

func newAssassin(t *testing.T, config *rest.Config) *assassin {
	t.Helper()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	a := &assassin{}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // Watches are streams.
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch a.judge(r) {
		case beforeWrite:
			a.kill()
		case afterWrite:
			proxy.ServeHTTP(httptest.NewRecorder(), r)
			a.kill()
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		a.server.CloseClientConnections()
		a.server.Close()
	})
	return a
}

// arm makes the assassin strike at the target-th write from now, counted from 1.
func (a *assassin) arm(target int, moment moment, kill func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen, a.armed, a.target, a.moment, a.kill = nil, true, target, moment, kill
}

// disarm ends the watch and returns the writes that were seen.
func (a *assassin) disarm() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armed = false
	return a.seen
}

// judge counts a write, and says whether and when to strike.
func (a *assassin) judge(r *http.Request) moment {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.armed || r.Method == http.MethodGet || strings.Contains(r.URL.Path, "/events") || strings.Contains(r.URL.Path, "/leases") {
		return ""
	}
	a.seen = append(a.seen, r.Method+" "+r.URL.Path)
	if len(a.seen) != a.target {
		return ""
	}
	return a.moment
}

// kubeconfig writes a kubeconfig that leads through the assassin.
func (a *assassin) kubeconfig(t *testing.T) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["proxy"] = &clientcmdapi.Cluster{Server: a.server.URL}
	config.Contexts["proxy"] = &clientcmdapi.Context{Cluster: "proxy"}
	config.CurrentContext = "proxy"
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
