// Package certificate has a server's certificate, which may be replaced while it runs. It does what controller-runtime's
// certwatcher does, under the same metrics' names, without what comes with that: leader election, and all kinds of Kubernetes.
package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
)

// every is how often the files are read.
const every = 5 * time.Second

// Options are where a certificate is, and who is told of it.
type Options struct {
	// CertFile has the certificate and those between it and its authority's, KeyFile its private key, in PEM.
	CertFile, KeyFile string
	// Every is how often they are read, where it is not zero.
	Every    time.Duration
	Log      logr.Logger
	Registry prometheus.Registerer
}

// Certificate is a certificate and its key, as the files have them, or have had them when they could last be read.
type Certificate struct {
	options       Options
	reads, faults prometheus.Counter
	// notBefore and notAfter are from when until when it is valid.
	notBefore, notAfter prometheus.Gauge
	current             atomic.Pointer[tls.Certificate]
	// cert and key are what was read last. Only New and Start read.
	cert, key []byte
}

// New reads a certificate, and registers its metrics.
func New(options Options) (*Certificate, error) {
	c := &Certificate{
		options: options,
		reads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "certwatcher_read_certificate_total", Help: "How often the certificate was read.",
		}),
		faults: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "certwatcher_read_certificate_errors_total", Help: "How often the certificate could not be read.",
		}),
		notBefore: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "apikey_verifier_certificate_not_before_timestamp_seconds", Help: "From when the certificate is valid that is shown to clients.",
		}),
		notAfter: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "apikey_verifier_certificate_not_after_timestamp_seconds", Help: "Until when the certificate is valid that is shown to clients.",
		}),
	}
	if c.options.Every == 0 {
		c.options.Every = every
	}
	if err := c.read(); err != nil {
		return nil, err
	}
	options.Registry.MustRegister(c.reads, c.faults, c.notBefore, c.notAfter)
	return c, nil
}

// GetCertificate is a tls.Config's.
func (c *Certificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// Start reads the files again and again until the context ends. A pair that can't be read, or doesn't belong together, is logged
// and counted, and the one before it stands.
func (c *Certificate) Start(ctx context.Context) error {
	tick := time.NewTicker(c.options.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := c.read(); err != nil {
			c.faults.Inc()
			c.options.Log.Error(err, "The certificate can't be read: the one before it serves on", "cert", c.options.CertFile, "key", c.options.KeyFile)
		}
	}
}

func (c *Certificate) read() error {
	c.reads.Inc()
	cert, err := os.ReadFile(c.options.CertFile)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(c.options.KeyFile)
	if err != nil {
		return err
	}
	if bytes.Equal(cert, c.cert) && bytes.Equal(key, c.key) {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return err
	}
	if c.current.Swap(&pair) != nil {
		c.options.Log.Info("The certificate is a new one", "cert", c.options.CertFile)
	}
	c.cert, c.key = cert, key
	c.notBefore.Set(float64(pair.Leaf.NotBefore.Unix()))
	c.notAfter.Set(float64(pair.Leaf.NotAfter.Unix()))
	return nil
}
