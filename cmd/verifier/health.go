package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/nexuscommerce/apikey-operator/internal/serving"
)

// newHealth returns a server of /healthz and /readyz, which says as of when the index is known to be up to date.
func newHealth(address string, secure security, self *replica) (manager.Runnable, error) {
	if address == "0" {
		return manager.RunnableFunc(func(context.Context) error { return nil }), nil
	}
	listener, err := serving.Listen("health-probe-bind-address", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.Handle("/readyz", readiness(self.keys.Describe, map[string]func() error{"fresh": self.keys.Ready, "draining": self.staying}))
	return &manager.Server{
		Name:     "health probe",
		Server:   &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second},
		Listener: secure.overHTTP1(listener),
	}, nil
}

// readiness answers 200 if no check fails, and says of each how it is.
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
