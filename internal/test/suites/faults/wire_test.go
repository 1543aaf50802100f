package faults_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// wire is a TCP proxy between a verifier and the API server that can fail in several ways.
type wire struct {
	listener net.Listener
	upstream string
	accepted atomic.Int64

	mu    sync.Mutex
	links map[*link]struct{}
	mode  mode
}

// mode is what a wire does with connections.
type mode int

const (
	passes mode = iota
	// refuses closes every new connection.
	refuses
	// stalls accepts connections, reads what is sent on them, and never answers. Nothing is delivered later.
	stalls
	// crawls lets through 1 KB/s from the API server.
	crawls
)

// link is one connection, with both of its ends.
type link struct{ client, server net.Conn }

func newWire(t testing.TB, config *rest.Config) *wire {
	t.Helper()
	upstream, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, upstream: upstream.Host, links: map[*link]struct{}{}}
	t.Cleanup(func() {
		_ = listener.Close()
		w.cut()
	})
	go w.serve()
	return w
}

func (w *wire) url() string { return "https://" + w.listener.Addr().String() }

func (w *wire) become(m mode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mode = m
}

func (w *wire) is() mode {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mode
}

// cut ends every connection. New ones pass.
func (w *wire) cut() {
	for _, l := range w.open() {
		_ = l.client.Close()
		_ = l.server.Close()
	}
}

// halve closes every connection on the API server's side and leaves it open on the verifier's. New ones pass.
func (w *wire) halve() {
	for _, l := range w.open() {
		_ = l.server.Close()
	}
}

func (w *wire) open() []*link {
	w.mu.Lock()
	defer w.mu.Unlock()
	links := make([]*link, 0, len(w.links))
	for l := range w.links {
		links = append(links, l)
	}
	return links
}

func (w *wire) serve() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return // Closed at the end of the test.
		}
		w.accepted.Add(1)
		if w.is() == refuses {
			_ = client.Close()
			continue
		}
		server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", w.upstream)
		if err != nil {
			_ = client.Close()
			continue
		}
		l := &link{client: client, server: server}
		w.mu.Lock()
		w.links[l] = struct{}{}
		w.mu.Unlock()
		go w.request(l)
		go w.answer(l)
	}
}

// request passes on what the verifier sends, while the verifier lives.
func (w *wire) request(l *link) {
	defer func() {
		_ = l.client.Close()
		_ = l.server.Close()
		w.mu.Lock()
		delete(w.links, l)
		w.mu.Unlock()
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := l.client.Read(buffer)
		if err != nil {
			return
		}
		if w.is() != stalls {
			_, _ = l.server.Write(buffer[:n]) // A half-closed connection accepts anything.
		}
	}
}

// answer passes on what the API server sends. When that ends, the verifier's half of the connection stays open.
func (w *wire) answer(l *link) {
	buffer := make([]byte, 32<<10)
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	for {
		size := len(buffer)
		if w.is() == crawls {
			size = 100
		}
		n, err := l.server.Read(buffer[:size])
		if err != nil {
			if errors.Is(err, io.EOF) && w.is() == passes {
				_ = l.client.Close() // The API server itself has closed it.
			}
			return
		}
		switch w.is() {
		case stalls:
			continue
		case crawls:
			<-pace.C // 1,000 bytes a second.
		}
		if _, err := l.client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
