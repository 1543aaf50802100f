// Package monitor is how the project's programs show their metrics, and to whom.
//
//	            plain text      a certificate            --metrics-secure, without a certificate
//	transport   HTTP            HTTPS                    HTTPS, with a certificate that the program signs itself
//	callers     anybody         anybody, unless          only who may get /metrics, as the API server says
//	                            --metrics-secure
package monitor

import (
	"crypto/tls"
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/nexuscommerce/apikey-operator/internal/caller"
	"github.com/nexuscommerce/apikey-operator/internal/version"
)

// Endpoint is where a program shows its metrics.
type Endpoint struct {
	// Address is where to listen, or 0 for nowhere.
	Address string
	// Certificate is that of the endpoint; nil for plain text, or where Guard is set, for one that is made as it starts.
	Certificate *certwatcher.CertWatcher
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
				config.GetCertificate = e.Certificate.GetCertificate
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
	if e.Certificate == nil {
		return nil
	}
	return m.Add(e.Certificate)
}

// Build is a metric that says which version of a program runs. Its value is always 1.
func Build(program string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "apikey_build_info",
		Help:        "Always 1; which program this is, its version and that of Go are in the labels.",
		ConstLabels: prometheus.Labels{"program": program, "version": version.String(), "go_version": runtime.Version()},
	}, func() float64 { return 1 })
}
