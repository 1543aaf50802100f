// Package managed serves metrics and health checks within a controller-runtime manager. Unlike the manager's own
// servers, its servers bound the memory of their connections.
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

// Endpoint is a monitor.Endpoint that a manager runs, and one for health checks.
type Endpoint struct {
	// Address is where to listen. "0" means nowhere. Health is the address for health checks.
	Address, Health string
	// Certificate returns the endpoint's certificate. Without it the endpoint uses plain text or, if there is a Guard, a
	// certificate that it signs itself when it starts.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Reread keeps the certificate up to date while the manager runs. It may be nil.
	Reread manager.Runnable
	// Guard says which callers may read. Nil means all.
	Guard *kubeauth.Guard
}

// Options turns a manager's own metrics server off.
func (Endpoint) Options() metricsserver.Options { return metricsserver.Options{BindAddress: "0"} }

// AddTo adds the servers and Reread to a manager, which starts the servers before anything else.
func (e Endpoint) AddTo(m manager.Manager) error {
	if e.Reread != nil {
		if err := m.Add(e.Reread); err != nil {
			return err
		}
	}
	handler, secure, err := monitor.Endpoint{
		Address: e.Address, Certificate: e.Certificate, Guard: e.Guard, Metrics: metrics.Registry,
	}.Server()
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

// probes answers every health check with 200: it is enough that the program runs.
func probes() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"/healthz", "/readyz"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	}
	return mux
}
