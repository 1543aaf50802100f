// Package certificate serves a certificate from files that may be replaced while the server runs. It does what
// controller-runtime's certwatcher does, with the same names of metrics, but without its dependencies: leader election
// and all kinds of Kubernetes.
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

// defaultEvery is how often the files are read by default.
const defaultEvery = 5 * time.Second

// Options configure a Certificate.
type Options struct {
	// CertFile contains the certificate and its intermediates, KeyFile the private key, in PEM.
	CertFile, KeyFile string
	// Every is how often they are read. 0 means every 5 seconds.
	Every    time.Duration
	Log      logr.Logger
	Registry prometheus.Registerer
}

// Certificate is the certificate and key that could last be read from the files.
type Certificate struct {
	options       Options
	reads, faults prometheus.Counter
	// notBefore and notAfter are the bounds of its validity.
	notBefore, notAfter prometheus.Gauge
	current             atomic.Pointer[tls.Certificate]
	// cert and key are the files' contents when they were last read. Only New and Start use them.
	cert, key []byte
}

// New reads a certificate and registers its metrics.
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
			Name: "apikey_verifier_certificate_not_before_timestamp_seconds",
			Help: "From when the certificate is valid that is shown to clients.",
		}),
		notAfter: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "apikey_verifier_certificate_not_after_timestamp_seconds",
			Help: "Until when the certificate is valid that is shown to clients.",
		}),
	}
	if c.options.Every == 0 {
		c.options.Every = defaultEvery
	}
	if err := c.read(); err != nil {
		return nil, err
	}
	options.Registry.MustRegister(c.reads, c.faults, c.notBefore, c.notAfter)
	return c, nil
}

// GetCertificate is for tls.Config.GetCertificate.
func (c *Certificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// Start reads the files repeatedly until the context ends. If they can't be read, or don't belong together, it logs and
// counts that, and keeps the previous certificate.
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
			c.options.Log.Error(err, "The certificate can't be read: the one before it serves on",
				"cert", c.options.CertFile, "key", c.options.KeyFile)
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
