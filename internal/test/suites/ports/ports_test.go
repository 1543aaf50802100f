// Package ports_test runs the verifier as a process, and asks at each of its ports. No API server runs: which protocol
// a port speaks, and that nothing passes, do not depend on one.
package ports_test

import (
	"context"
	"crypto/tls"
	"io"
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

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const timeout = time.Minute

// kubeconfig leads to no API server.
const kubeconfig = `
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
users: [{name: none, user: {}}]
current-context: none
`

// start starts a verifier, and does not wait for it.
func start(t *testing.T, binary string, flags ...string) *install.Verifier {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	return install.StartVerifier(t, binary, install.VerifierOptions{
		Name: "verifier-1", Kubeconfig: path, NoWait: true,
		TLS:   &install.TLS{}, // The flags say what there is of it.
		Flags: append([]string{"--startup-timeout=0"}, flags...),
	})
}

// certificate writes a certificate for loopback to files, and returns a client's TLS configuration that trusts it.
func certificate(t *testing.T) (cert, key string, trust *tls.Config) {
	t.Helper()
	const address = "127.0.0.1"
	ca := authority.New(t)
	cert, key = ca.Serving(t, address)
	return cert, key, ca.Trust(address)
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
			program.WaitUntil(t, timeout, "a running verifier", func() error {
				_, _, err := get(t, web, test.scheme+"://"+v.Health+"/healthz")
				return err
			})
			for url, want := range map[string]struct {
				status int
				body   string
			}{
				v.Health + "/healthz":                              {200, "ok"},
				v.Health + "/readyz":                               {503, "fresh failed"},
				v.Metrics + "/metrics":                             {200, "apikey_verifier_index_credentials 0"},
				v.HTTP + "/ext-authz/api":                          {401, "no_credentials"},
				v.HTTP + "/auth/static?scope=products:read":        {401, "no_credentials"},
				v.HTTP + "/auth/ngf":                               {403, "proxy_misconfigured"},
				v.HTTP + "/auth":                                   {404, "not_found"},
				v.HTTP + "/auth/nginx?scope=products:read&limit=1": {403, "proxy_misconfigured"},
			} {
				program.WaitUntil(t, timeout, url, func() error { // One port may be open before another.
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

			connection, err := grpc.NewClient(v.GRPC, grpc.WithTransportCredentials(test.credentials))
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
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
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

// TestPlainTextIsAskedFor checks that without a certificate the verifier runs only with --insecure-plain-text.
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
			case <-time.After(timeout):
				t.Fatal("it runs")
			}
			if !strings.Contains(v.Log(), test.saying) {
				t.Errorf("it says %s", v.Log())
			}
		})
	}
}
