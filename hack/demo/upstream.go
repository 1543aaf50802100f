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

// upstream is the API behind the proxy. It trusts every request, and records its headers.
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
	go func() { _ = u.server.Serve(listener) }() // Always ErrServerClosed: nobody else closes the listener.
	return u, nil
}

// ServeHTTP answers with a catalog and its owner, so that a person sees what the API knows of its caller.
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

// close ends the server, after the requests under way.
func (u *upstream) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(u.server.Shutdown(ctx), u.server.Close())
}
