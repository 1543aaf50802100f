// Package managed shows metrics through the metrics server of a controller-runtime manager. It is for the programs that have one.
package managed

import (
	"crypto/tls"
	"net/http"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/nexuscommerce/apikey-operator/internal/caller"
)

// Endpoint is a monitor.Endpoint that a manager runs.
type Endpoint struct {
	// Address is where to listen, or 0 for nowhere.
	Address string
	// Certificate returns that of the endpoint; nil for plain text, or where Guard is set, for one that is made as it starts.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Reread keeps the certificate up to date while the manager runs; nil where nothing has to.
	Reread manager.Runnable
	// Guard lets callers pass; nil for all of them.
	Guard *caller.Guard
}

// Options are those of a manager's metrics server. Whatever else is added to that server is guarded too.
func (e Endpoint) Options() metricsserver.Options {
	options := metricsserver.Options{
		BindAddress:   e.Address,
		SecureServing: e.Certificate != nil || e.Guard != nil,
		TLSOpts: []func(*tls.Config){func(config *tls.Config) {
			config.MinVersion = tls.VersionTLS12
			if e.Certificate != nil {
				config.GetCertificate = e.Certificate
			}
		}},
	}
	if e.Guard != nil {
		options.FilterProvider = func(*rest.Config, *http.Client) (metricsserver.Filter, error) { return e.Guard.Filter, nil }
	}
	return options
}

// AddTo has a manager run what reads the certificate again.
func (e Endpoint) AddTo(m manager.Manager) error {
	if e.Reread == nil {
		return nil
	}
	return m.Add(e.Reread)
}
