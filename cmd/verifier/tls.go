package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/nexuscommerce/apikey-operator/internal/certificate"
	"github.com/nexuscommerce/apikey-operator/internal/kubeauth"
	"github.com/nexuscommerce/apikey-operator/internal/monitor"
)

// security is the TLS of every port of the verifier: a certificate, or plain text if the flags ask for it.
type security struct {
	// certificate is read again when its files change, while it is started. Files that can't be read are logged and
	// counted (certwatcher_read_certificate_errors_total), and the previous certificate stays. Nil means plain text.
	certificate *certificate.Certificate
}

func newSecurity(o options, registry prometheus.Registerer) (security, error) {
	if o.plainText {
		return security{}, nil
	}
	certificate, err := certificate.New(certificate.Options{
		CertFile: o.tlsCert, KeyFile: o.tlsKey, Log: logf.Log.WithName("certificate"), Registry: registry,
	})
	if err != nil {
		return security{}, fmt.Errorf("--tls-cert-file=%s, --tls-private-key-file=%s: %w", o.tlsCert, o.tlsKey, err)
	}
	return security{certificate}, nil
}

// config returns the TLS configuration for these protocols, or nil for plain text.
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

// metrics returns the endpoint of the metrics and of the handlers for people. The guard may be nil.
func (s security) metrics(
	o options, guard *kubeauth.Guard, registry prometheus.Gatherer, handlers map[string]http.Handler,
) monitor.Endpoint {
	endpoint := monitor.Endpoint{Address: o.metricsAddress, Metrics: registry, Handlers: handlers}
	if s.certificate != nil {
		endpoint.Certificate = s.certificate.GetCertificate
	}
	if o.metricsSecure {
		endpoint.Guard = guard
	}
	return endpoint
}

// start reads the certificate repeatedly until the context ends, if there is one.
func (s security) start(ctx context.Context) error {
	if s.certificate == nil {
		return nil
	}
	return s.certificate.Start(ctx)
}
