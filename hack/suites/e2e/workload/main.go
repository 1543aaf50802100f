// Command workload is what the end-to-end test runs in pods, beside the proxy: an API, and a client of it that mounts
// its key. It is also the container that holds a pod's namespaces, so that the test's node needs no other image.
//
//	workload pause               waits for a signal
//	workload api                 an API behind the proxy
//	workload client -url=URL …   calls it all the time, and counts what comes of it
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/httpserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: workload pause|api|client [flags]")
	}
	switch args[0] {
	case "pause":
		<-ctx.Done()
		return nil
	case "api":
		return serve(ctx, http.HandlerFunc(answer))
	case "client":
		return runClient(ctx, args[1:])
	default:
		return fmt.Errorf("no such command: %s", args[0])
	}
}

// answer responds with the caller's identity, as the proxy passes it on.
func answer(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		http.Error(w, "the proxy has passed on the token", http.StatusInternalServerError)
		return
	}
	if r.Header.Get("X-Api-Key-Name") == "" && r.URL.Path != "/ready" {
		http.Error(w, "the proxy doesn't say whose key it was", http.StatusInternalServerError)
		return
	}
	_, _ = fmt.Fprintln(w, r.Header.Get("X-Api-Key-Name"))
}

// serve answers on port 8080 until the context ends.
func serve(ctx context.Context, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":8080")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	return httpserver.Serve(ctx, server, listener, time.Minute)
}
