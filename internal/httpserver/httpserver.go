// Package httpserver runs an HTTP server until a context ends.
package httpserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// Serve serves until the context ends, and then gives the requests under way so much time to complete. What is still
// open after that is closed, and the error is context.DeadlineExceeded.
func Serve(ctx context.Context, server *http.Server, listener net.Listener, drainTimeout time.Duration) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	return errors.Join(server.Shutdown(draining), server.Close())
}
