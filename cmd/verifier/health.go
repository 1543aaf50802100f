package main

import (
	"context"
	"fmt"
	"net/http"

	"github.com/nexuscommerce/apikey-operator/internal/monitor"
	"github.com/nexuscommerce/apikey-operator/internal/serving"
)

// newHealth returns a server of /healthz and /readyz. /readyz also shows how fresh the index is.
func newHealth(address string, secure security, self *replica) (runnable, error) {
	if address == "0" {
		return func(context.Context) error { return nil }, nil
	}
	listener, err := serving.Listen("health-probe-bind-address", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	checks := map[string]func() error{"fresh": self.keys.Ready, "draining": self.staying}
	mux.Handle("/readyz", readiness(self.keys.Describe, checks))
	return func(ctx context.Context) error { return monitor.Serve(ctx, listener, mux, secure.config("http/1.1")) }, nil
}

// readiness answers 200 if no check fails, with the result of each.
func readiness(describe func() string, checks map[string]func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status, page := http.StatusOK, ""
		for _, name := range []string{"fresh", "draining"} {
			if err := checks[name](); err != nil {
				status = http.StatusServiceUnavailable
				page += fmt.Sprintf("[-]%s failed: %s\n", name, err)
			} else {
				page += fmt.Sprintf("[+]%s ok\n", name)
			}
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "%s%s\n", page, describe())
	})
}
