// Package managed shows metrics and answers probes within a controller-runtime manager. It is for the programs that have one.
//
// The servers that the manager would bring by itself have no bounds on what their connections may hold.
package managed

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/nexuscommerce/apikey-operator/internal/kubeauth"
	"github.com/nexuscommerce/apikey-operator/internal/monitor"
)

// Endpoint is a monitor.Endpoint that a manager runs, with one for probes beside it.
type Endpoint struct {
	// Address is where to listen, or 0 for nowhere. Health is where probes ask.
	Address, Health string
	// Certificate returns that of the endpoint; nil for plain text, or where Guard is set, for one that is made as it starts.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Reread keeps the certificate up to date while the manager runs; nil where nothing has to.
	Reread manager.Runnable
	// Guard lets callers pass; nil for all of them.
	Guard *kubeauth.Guard
}

// Options are those of a manager's own metrics server: there is to be none.
func (Endpoint) Options() metricsserver.Options { return metricsserver.Options{BindAddress: "0"} }

// AddTo has a manager run the servers, and what reads the certificate again. The servers answer before anything else is started.
func (e Endpoint) AddTo(m manager.Manager) error {
	if e.Reread != nil {
		if err := m.Add(e.Reread); err != nil {
			return err
		}
	}
	handler, secure, err := monitor.Endpoint{Address: e.Address, Certificate: e.Certificate, Guard: e.Guard, Metrics: metrics.Registry}.Server()
	if err != nil {
		return err
	}
	return errors.Join(add(m, "metrics", e.Address, handler, secure), add(m, "health", e.Health, probes(), nil))
}

func add(m manager.Manager, name, address string, handler http.Handler, secure *tls.Config) error {
	if address == "0" || address == "" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return fmt.Errorf("listening for %s: %w", name, err)
	}
	server, bounded := monitor.NewServer(listener, handler, secure)
	return m.Add(&manager.Server{Name: name, Server: server, Listener: bounded})
}

// probes answers that the program runs. There is nothing else to know of programs that have a manager.
func probes() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"/healthz", "/readyz"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	}
	return mux
}
