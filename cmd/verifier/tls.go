package main

import (
	"crypto/tls"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/nexuscommerce/apikey-operator/internal/caller"
	"github.com/nexuscommerce/apikey-operator/internal/monitor"
)

// security is how every port of the verifier's is secured: by one certificate, or where the flags ask for it, not at all.
type security struct {
	// certificate is read again when its files change. It has to be run. A pair that can't be read is logged and counted
	// (certwatcher_read_certificate_errors_total), and the one before it serves on. nil is plain text.
	certificate *certwatcher.CertWatcher
}

func newSecurity(o options) (security, error) {
	if o.plainText {
		return security{}, nil
	}
	certificate, err := certwatcher.New(o.tlsCert, o.tlsKey)
	if err != nil {
		return security{}, fmt.Errorf("--tls-cert-file=%s, --tls-private-key-file=%s: %w", o.tlsCert, o.tlsKey, err)
	}
	return security{certificate}, nil
}

// config returns the configuration of a port that speaks these protocols, or nil for plain text.
func (s security) config(protocols ...string) *tls.Config {
	if s.certificate == nil {
		return nil
	}
	return &tls.Config{NextProtos: protocols, MinVersion: tls.VersionTLS12, GetCertificate: s.certificate.GetCertificate}
}

func (s security) overGRPC() credentials.TransportCredentials {
	if config := s.config("h2"); config != nil {
		return credentials.NewTLS(config)
	}
	return insecure.NewCredentials()
}

// metrics secures the metrics endpoint. There may be a guard for it.
func (s security) metrics(o options, guard *caller.Guard) metricsserver.Options {
	endpoint := monitor.Endpoint{Address: o.metricsAddress, Certificate: s.certificate}
	if o.metricsSecure {
		endpoint.Guard = guard
	}
	return endpoint.Options()
}

// addTo has a manager run what reads the certificate again.
func (s security) addTo(m manager.Manager) error {
	if s.certificate == nil {
		return nil
	}
	return m.Add(s.certificate)
}

// overHTTP1 secures a listener for probes.
func (s security) overHTTP1(listener net.Listener) net.Listener {
	if config := s.config("http/1.1"); config != nil {
		return tls.NewListener(listener, config)
	}
	return listener
}
