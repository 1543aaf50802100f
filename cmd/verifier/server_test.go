package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/serving"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// TestAnswerUntilDrained stops a replica while a request is under way: it becomes unready, then refuses connections,
// and the request is answered.
func TestAnswerUntilDrained(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	r, address := newAnswering(t, time.Minute, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		w.WriteHeader(http.StatusOK)
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := r.answer(ctx)
		ended <- err
	}()
	got := make(chan int, 1)
	go func() { got <- ask(t, address) }()
	<-asked
	if err := r.staying(); err != nil {
		t.Errorf("not ready before the context has ended: %v", err)
	}
	stop()
	program.WaitUntil(t, waitTimeout, "a closed port", func() error {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			return nil
		}
		defer connection.Close()
		return errors.New("open")
	})
	if r.staying() == nil {
		t.Error("ready, although it refuses connections")
	}
	select {
	case err := <-ended:
		t.Fatalf("ended with a request under way: %v", err)
	default:
	}
	close(answer)
	if status := <-got; status != http.StatusOK {
		t.Errorf("the request under way: status %d", status)
	}
	if err := <-ended; err != nil {
		t.Errorf("draining: %v", err)
	}
}

// TestAnswerEnds checks that a request that takes too long is cut off, and reported.
func TestAnswerEnds(t *testing.T) {
	asked := make(chan struct{})
	release := make(chan struct{})
	defer close(release)
	r, address := newAnswering(t, time.Millisecond, func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := r.answer(ctx)
		ended <- err
	}()
	go func() { _ = ask(t, address) }()
	<-asked
	stop()
	if err := <-ended; err == nil {
		t.Error("no error for the request")
	}
}

// newAnswering returns a replica with one server, which isn't started yet, and its address.
func newAnswering(t *testing.T, timeout time.Duration, handler http.HandlerFunc) (*replica, string) {
	t.Helper()
	listener, err := serving.Listen("http-bind-address", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &replica{
		servers: []*serving.Server{serving.NewHTTP(listener, handler, nil)}, timeout: timeout,
	}, listener.Addr().String()
}

// ask returns the status of a response, or 0 if there is none.
func ask(t *testing.T, address string) int {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, http.NoBody)
	if err != nil {
		return 0
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	return response.StatusCode
}
