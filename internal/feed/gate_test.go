package feed_test

import (
	"context"
	"net"
	"net/url"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/rest"
)

// gate is a TCP proxy to the API server that can stall: connections stay open and new ones are accepted, but nothing
// that is sent on them arrives.
type gate struct {
	listener net.Listener
	upstream string

	mu   sync.Mutex
	open chan struct{}
}

func newGate(config *rest.Config) *gate {
	GinkgoHelper()
	upstream, err := url.Parse(config.Host)
	Expect(err).NotTo(HaveOccurred())
	if upstream.Host == "" { // envtest omits the scheme.
		upstream.Host = config.Host
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	g := &gate{listener: listener, upstream: upstream.Host, open: make(chan struct{})}
	close(g.open)
	DeferCleanup(listener.Close)
	go g.serve()
	return g
}

// through returns a config whose connections go through the gate.
func (g *gate) through(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Host = "https://" + g.listener.Addr().String()
	return config
}

func (g *gate) stall() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

func (g *gate) serve() {
	for {
		client, err := g.listener.Accept()
		if err != nil {
			return // Closed at the end of the test.
		}
		server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", g.upstream)
		if err != nil {
			client.Close()
			continue
		}
		go g.pass(client, server)
		go g.pass(server, client)
	}
}

func (g *gate) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		g.wait()
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

func (g *gate) wait() {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	<-open
}
