package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// upstream is the API behind the proxy. It trusts whatever reaches it, and remembers exactly what that was.
type upstream struct {
	address string
	server  *http.Server

	mu   sync.Mutex
	seen []http.Header
}

// startUpstream serves a small API on loopback.
func startUpstream() (*upstream, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{address: listener.Addr().String()}
	u.server = &http.Server{Handler: u, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = u.server.Serve(listener) }() // Always ErrServerClosed: the listener is nobody else's.
	return u, nil
}

// ServeHTTP answers with a catalog, and with whose it is: a person sees in the answer what the API knows of its caller.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.seen = append(u.seen, r.Header.Clone())
	u.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"path":   r.URL.Path,
		"caller": r.Header.Get("X-Api-Key-Name"),
		"items":  []string{"lamp", "chair"},
	})
}

// take returns the headers of each request since the last call.
func (u *upstream) take() []http.Header {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen = nil
	return seen
}

// close ends the server, and waits for what it is answering.
func (u *upstream) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(u.server.Shutdown(ctx), u.server.Close())
}
