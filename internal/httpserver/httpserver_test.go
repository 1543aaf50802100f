package httpserver_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/httpserver"
)

// start serves a handler, and returns the server's address, what ends it and its result.
func start(
	t *testing.T, handler http.HandlerFunc, drainTimeout time.Duration,
) (address string, stop func(), result <-chan error) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { ended <- httpserver.Serve(ctx, server, listener, drainTimeout) }()
	return listener.Addr().String(), cancel, ended
}

// get sends a request, and returns the error that it ends with.
func get(t *testing.T, address string) <-chan error {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, http.NoBody)
		if err != nil {
			result <- err
			return
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		result <- err
	}()
	return result
}

// TestDrains checks that a request under way is answered although the context has ended.
func TestDrains(t *testing.T) {
	under, release := make(chan struct{}), make(chan struct{})
	address, stop, ended := start(t, func(http.ResponseWriter, *http.Request) {
		close(under)
		<-release
	}, time.Minute)
	answered := get(t, address)
	<-under
	stop()
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the request: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the server: %v", err)
	}
}

// TestClosesWhatDoesNotEnd checks that a request that takes longer than the drain timeout is cut off.
func TestClosesWhatDoesNotEnd(t *testing.T) {
	under := make(chan struct{})
	address, stop, ended := start(t, func(_ http.ResponseWriter, r *http.Request) {
		close(under)
		<-r.Context().Done()
	}, time.Millisecond)
	answered := get(t, address)
	<-under
	stop()
	if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the server: %v, want that its time has run out", err)
	}
	if err := <-answered; err == nil {
		t.Error("the request was answered")
	}
}

// TestFails checks that a server that can't serve does not wait for the context.
func TestFails(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute}
	if err := httpserver.Serve(t.Context(), server, listener, time.Minute); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want the listener's error", err)
	}
}
