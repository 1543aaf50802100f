// Package ports_test runs the verifier as a process, and asks at each of its ports. There is no API server: what a port
// speaks, and that nothing passes, does not depend on one.
package ports_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const patience = time.Minute

// verifier is a running one.
type verifier struct {
	*program.Process

	http, grpc, health, metrics string
}

// kubeconfig leads to no API server.
const kubeconfig = `
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
users: [{name: none, user: {}}]
current-context: none
`

func start(t *testing.T, binary string, flags ...string) *verifier {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	v := &verifier{http: program.FreeAddress(t), grpc: program.FreeAddress(t), health: program.FreeAddress(t),
		metrics: program.FreeAddress(t)}
	v.Process = program.Start(t, binary, append([]string{
		"--kubeconfig=" + path, "--name=verifier-1", "--http-bind-address=" + v.http, "--grpc-bind-address=" + v.grpc,
		"--health-probe-bind-address=" + v.health, "--metrics-bind-address=" + v.metrics, "--startup-timeout=0",
	}, flags...)...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the verifier's log:\n%s", v.Log())
		}
	})
	return v
}

// certificate makes a certificate for loopback, in files, and returns who trusts it.
func certificate(t *testing.T) (cert, key string, trust *tls.Config) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for path, content := range map[string][]byte{cert: encoded,
		key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(encoded)
	return cert, key, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// TestEveryPort checks that each port answers over TLS where there is a certificate and in plain text where that is
// asked for, and not the other way; and that nothing passes without an API server, at any of them.
func TestEveryPort(t *testing.T) {
	binary := program.Build(t, "./cmd/verifier")
	cert, key, trust := certificate(t)
	for name, test := range map[string]struct {
		flags         []string
		scheme, wrong string
		credentials   credentials.TransportCredentials
	}{
		"TLS": {[]string{"--tls-cert-file=" + cert, "--tls-private-key-file=" + key}, "https", "http",
			credentials.NewTLS(trust)},
		"plain text": {[]string{"--insecure-plain-text"}, "http", "https", insecure.NewCredentials()},
	} {
		t.Run(name, func(t *testing.T) {
			v := start(t, binary, test.flags...)
			web := &http.Client{Transport: &http.Transport{TLSClientConfig: trust}}
			defer web.CloseIdleConnections()
			program.WaitUntil(t, patience, "a running verifier", func() error {
				_, _, err := get(t, web, test.scheme+"://"+v.health+"/healthz")
				return err
			})
			for url, want := range map[string]struct {
				status int
				body   string
			}{
				v.health + "/healthz":                              {200, "ok"},
				v.health + "/readyz":                               {503, "fresh failed"},
				v.metrics + "/metrics":                             {200, "apikey_verifier_index_credentials 0"},
				v.http + "/ext-authz/api":                          {401, "no_credentials"},
				v.http + "/auth/static?scope=products:read":        {401, "no_credentials"},
				v.http + "/auth/ngf":                               {403, "proxy_misconfigured"},
				v.http + "/auth":                                   {404, "not_found"},
				v.http + "/auth/nginx?scope=products:read&limit=1": {403, "proxy_misconfigured"},
			} {
				program.WaitUntil(t, patience, url, func() error { // One port may be open before another.
					status, body, err := get(t, web, test.scheme+"://"+url)
					if err == nil && (status != want.status || !strings.Contains(body, want.body)) {
						t.Errorf("%s: status %d, body %s", url, status, body)
					}
					return err
				})
				if status, _, err := get(t, web, test.wrong+"://"+url); err == nil && status != http.StatusBadRequest {
					t.Errorf("%s://%s: status %d", test.wrong, url, status)
				}
			}

			connection, err := grpc.NewClient(v.grpc, grpc.WithTransportCredentials(test.credentials))
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			answer, err := authv3.NewAuthorizationClient(connection).Check(t.Context(), &authv3.CheckRequest{})
			if err != nil || answer.GetDeniedResponse() == nil ||
				!strings.Contains(answer.GetDeniedResponse().GetBody(), "proxy_misconfigured") {
				t.Errorf("a check: %v, error %v", answer, err)
			}
			health, err := healthv1.NewHealthClient(connection).Check(t.Context(), &healthv1.HealthCheckRequest{})
			if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
				t.Errorf("health %v, error %v", health, err)
			}
		})
	}
}

func get(t *testing.T, web *http.Client, url string) (status int, body string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := web.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), err
}

// TestPlainTextIsAskedFor checks that without a certificate the verifier doesn't run unless it is told to.
func TestPlainTextIsAskedFor(t *testing.T) {
	binary := program.Build(t, "./cmd/verifier")
	cert, key, _ := certificate(t)
	for name, test := range map[string]struct {
		flags  []string
		saying string
	}{
		"nothing said": {nil, "--insecure-plain-text"},
		"no key":       {[]string{"--tls-cert-file=" + cert}, "--tls-private-key-file"},
		"both": {[]string{"--tls-cert-file=" + cert, "--tls-private-key-file=" + key, "--insecure-plain-text"},
			"--insecure-plain-text"},
		"no such certificate": {[]string{"--tls-cert-file=" + cert + "x", "--tls-private-key-file=" + key},
			"--tls-cert-file"},
	} {
		t.Run(name, func(t *testing.T) {
			v := start(t, binary, test.flags...)
			select {
			case <-v.Exited():
			case <-time.After(patience):
				t.Fatal("it runs")
			}
			if !strings.Contains(v.Log(), test.saying) {
				t.Errorf("it says %s", v.Log())
			}
		})
	}
}
