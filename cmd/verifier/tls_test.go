package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/nexuscommerce/apikey-operator/internal/certificate"
	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/serving"
	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// waitTimeout is how long a test waits for what should take moments.
const waitTimeout = 30 * time.Second

// anyone accepts any certificate. The tests look at which it is.
var anyone = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}

// pair is a certificate and its key, in files.
type pair struct{ cert, key string }

func newPair(t *testing.T, name string) pair {
	t.Helper()
	dir := t.TempDir()
	p := pair{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	p.issue(t, name)
	return p
}

// issue replaces the files by a certificate for another name, which is valid for as many hours as the name has
// characters.
func (p pair) issue(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Duration(len(name)) * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, p.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	p.write(t, p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
}

func (p pair) write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// secured is an HTTP and a gRPC server with a certificate.
type secured struct {
	pair     pair
	http     string
	grpc     string
	registry *prometheus.Registry
}

func newSecured(t *testing.T, name string) *secured {
	t.Helper()
	s := &secured{pair: newPair(t, name), registry: prometheus.NewRegistry()}
	shown, err := certificate.New(certificate.Options{
		CertFile: s.pair.cert, KeyFile: s.pair.key, Every: 50 * time.Millisecond, Log: logr.Discard(), Registry: s.registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	secure := security{shown}
	go func() { _ = secure.start(t.Context()) }()
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for _, start := range []func(net.Listener) *serving.Server{
		func(l net.Listener) *serving.Server {
			s.http = l.Addr().String()
			return serving.NewHTTP(l, answer, secure.config())
		},
		func(l net.Listener) *serving.Server {
			s.grpc = l.Addr().String()
			health := serving.NewHealth(func() error { return nil })
			return serving.NewGRPC(l, extauthz.NewGRPC(nil, clientip.Trust{}, false), health, secure.overGRPC(), false)
		},
	} {
		listener, err := serving.Listen("http-bind-address", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := start(listener)
		go func() { _ = server.Serve() }()
		t.Cleanup(func() {
			end, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
			cancel()
			_ = server.Drain(end)
		})
	}
	return s
}

// client sends requests over one connection as long as it lasts, and returns the name in the certificate that was shown
// when it was made.
type client interface {
	ask(t *testing.T) (name, protocol string)
}

type httpClient struct {
	url string
	*http.Client
}

func (c httpClient) ask(t *testing.T) (name, protocol string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.TLS.PeerCertificates[0].Subject.CommonName, response.Proto
}

type grpcClient struct{ *grpc.ClientConn }

func (c grpcClient) ask(t *testing.T) (name, protocol string) {
	t.Helper()
	var server peer.Peer
	if _, err := healthv1.NewHealthClient(c).Check(
		t.Context(), &healthv1.HealthCheckRequest{}, grpc.Peer(&server),
	); err != nil {
		t.Fatal(err)
	}
	return server.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].Subject.CommonName, "HTTP/2.0"
}

// connect makes new connections to both servers.
func (s *secured) connect(t *testing.T) map[string]client {
	t.Helper()
	connection, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(credentials.NewTLS(anyone)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	transport := &http.Transport{TLSClientConfig: anyone.Clone(), ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return map[string]client{
		"grpc": grpcClient{connection}, "http": httpClient{"https://" + s.http, &http.Client{Transport: transport}},
	}
}

func wantCertificate(t *testing.T, clients map[string]client, want string) {
	t.Helper()
	for protocol, c := range clients {
		if name, version := c.ask(t); name != want || version != "HTTP/2.0" {
			t.Errorf("%s: the certificate of %s over %s, want that of %s", protocol, name, version, want)
		}
	}
}

// shows waits until new connections get the certificate of a name.
func (s *secured) shows(t *testing.T, want string) {
	t.Helper()
	program.WaitUntil(t, waitTimeout, "the certificate of "+want, func() error {
		connection, err := tls.Dial("tcp", s.http, anyone)
		if err != nil {
			return err
		}
		defer connection.Close()
		return connection.ConnectionState().PeerCertificates[0].VerifyHostname(want)
	})
}

// TestCertificateIsReloaded replaces the files while connections are open.
func TestCertificateIsReloaded(t *testing.T) {
	s := newSecured(t, "first.example")
	before := s.connect(t)
	wantCertificate(t, before, "first.example")

	s.pair.issue(t, "second.example")
	s.shows(t, "second.example")
	wantCertificate(t, before, "first.example") // The older connections still work.
	wantCertificate(t, s.connect(t), "second.example")

	faults := s.certificateFaults(t)
	s.pair.write(t, s.pair.cert, []byte("broken"))
	program.WaitUntil(t, waitTimeout, "a fault that is counted", func() error {
		if s.certificateFaults(t) == faults {
			return errors.New("none yet")
		}
		return nil
	})
	wantCertificate(t, s.connect(t), "second.example")
	if err := os.Remove(s.pair.key); err != nil {
		t.Fatal(err)
	}
	wantCertificate(t, s.connect(t), "second.example")

	s.pair.issue(t, "third.example")
	s.shows(t, "third.example")
	wantCertificate(t, s.connect(t), "third.example")
	wantCertificate(t, before, "first.example")
}

// certificateFaults returns how many times a pair could not be read, from the metrics.
func (s *secured) certificateFaults(t *testing.T) float64 {
	t.Helper()
	return s.metric(t, "certwatcher_read_certificate_errors_total")
}

// metric returns the value of a counter or a gauge.
func (s *secured) metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetCounter().GetValue() + family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestCertificateValidity checks that the metrics have the validity of the certificate that is shown.
func TestCertificateValidity(t *testing.T) {
	s := newSecured(t, "first.example")
	for _, name := range []string{"first.example", "the-second.example"} {
		if name != "first.example" {
			s.pair.issue(t, name)
			s.shows(t, name)
		}
		connection, err := tls.Dial("tcp", s.http, anyone)
		if err != nil {
			t.Fatal(err)
		}
		shown := connection.ConnectionState().PeerCertificates[0]
		_ = connection.Close()
		for metric, want := range map[string]time.Time{"not_before": shown.NotBefore, "not_after": shown.NotAfter} {
			if got := s.metric(t, "apikey_verifier_certificate_"+metric+"_timestamp_seconds"); got != float64(want.Unix()) {
				t.Errorf("%s of %s: %f, want %d", metric, name, got, want.Unix())
			}
		}
	}
}

// TestOldTLSIsRefused checks the minimum version, and that plain text is not answered.
func TestOldTLSIsRefused(t *testing.T) {
	s := newSecured(t, "api.example")
	for _, address := range []string{s.http, s.grpc} {
		for version, accepted := range map[uint16]bool{
			tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true,
		} {
			config := anyone.Clone()
			config.MinVersion, config.MaxVersion = version, version
			connection, err := tls.Dial("tcp", address, config)
			if (err == nil) != accepted {
				t.Errorf("%s: %v", tls.VersionName(version), err)
			}
			if err == nil {
				_ = connection.Close()
			}
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.http, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := http.DefaultClient.Do(request); err == nil {
		defer response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("without TLS: %s", response.Status)
		}
	}
}

func TestUnreadableCertificate(t *testing.T) {
	p, other := newPair(t, "a.example"), newPair(t, "b.example")
	for name, o := range map[string]options{
		"missing":           {tlsCert: p.cert + "x", tlsKey: p.key},
		"missing key":       {tlsCert: p.cert, tlsKey: p.key + "x"},
		"another one's key": {tlsCert: p.cert, tlsKey: other.key},
		"mixed up":          {tlsCert: p.key, tlsKey: p.cert},
	} {
		if _, err := newSecurity(o, prometheus.NewRegistry()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
