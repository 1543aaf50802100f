package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// tunnel is an HTTP proxy that connects to one name, at another address, and to nothing else. A program that checks a
// certificate for that name finds it by way of this.
type tunnel struct {
	address string
	server  *http.Server
}

// startTunnel starts a tunnel to a name with a port.
func startTunnel(name, address string) (*tunnel, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tunnel{address: listener.Addr().String(), server: &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodConnect || r.Host != name {
				http.Error(w, "this leads to "+name+" only", http.StatusForbidden)
				return
			}
			if err := connect(w, address); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
			}
		}),
	}}
	go func() { _ = t.server.Serve(listener) }() // Ends when the tunnel is closed.
	return t, nil
}

// connect joins a client's connection with one to an address, until either ends.
func connect(w http.ResponseWriter, address string) error {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		return errors.New("the connection can't be taken over")
	}
	other, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	client, _, err := hijacker.Hijack()
	if err != nil {
		return errors.Join(err, other.Close())
	}
	both := func() { _, _ = client.Close(), other.Close() }
	if _, err := io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		both()
		return nil
	}
	for _, pair := range [][2]net.Conn{{client, other}, {other, client}} {
		go func() {
			defer both()
			_, _ = io.Copy(pair[0], pair[1])
		}()
	}
	return nil
}

// close ends the tunnel.
func (t *tunnel) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	return t.server.Shutdown(ctx)
}
