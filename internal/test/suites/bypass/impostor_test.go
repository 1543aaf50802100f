package bypass_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// TestImpostor runs a server in the verifier's place that lets everything pass: in plain text, with a certificate of an
// authority that the proxy does not trust, or with one for another name. No proxy sends it a token, and nothing reaches
// the upstream.
func TestImpostor(t *testing.T) {
	trusted, other := authority.New(t), authority.New(t)
	for kind, certificate := range map[string][2]string{
		"plain text":        {},
		"another authority": pair(t, other, authority.VerifierName),
		"another name":      pair(t, trusted, "api.warehouse.svc.cluster.local"),
	} {
		t.Run(kind, func(t *testing.T) {
			var asked atomic.Int32
			address := impostor(t, certificate, func(r *http.Request) {
				if r.Header.Get("Authorization") != "" {
					asked.Add(1)
				}
			})
			b := &testbed{
				Installation: &install.Installation{Verifier: &install.Verifier{Addresses: install.Addresses{HTTP: address}}},
				authority:    trusted, values: map[string]string{"token": "nxc_live_any"},
			}
			for name, p := range proxies {
				if p.unchecked {
					continue
				}
				t.Run(name, func(t *testing.T) {
					up := startUpstream(t)
					at, _ := p.start(t, b, up)
					f := &front{testbed: b, address: at.http1, upstream: up}
					status, err := send(t.Context(), f.address, f.request("token"), timeout)
					if err != nil || status < http.StatusInternalServerError {
						t.Errorf("%d, %v", status, err)
					}
					for _, r := range up.take() {
						if r.target != fenceTarget {
							t.Errorf("%.200q reaches the upstream", redact(r.head))
						}
					}
				})
			}
			if n := asked.Load(); n != 0 {
				t.Errorf("%d tokens were sent to who can't prove that it is the verifier", n)
			}
		})
	}
}

func pair(t *testing.T, by *authority.Authority, name string) [2]string {
	t.Helper()
	certificate, key := by.Serving(t, name)
	return [2]string{certificate, key}
}

// impostor answers 200 with all identity headers, and returns its address.
func impostor(t *testing.T, certificate [2]string, see func(*http.Request)) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		see(r)
		for _, name := range []string{"Id", "Name", "Scopes", "Tenant"} {
			w.Header().Set("X-Api-Key-"+name, "admin")
		}
	}))
	server.Config.ErrorLog = nil
	if certificate[0] == "" {
		server.Start()
	} else {
		loaded, err := tls.LoadX509KeyPair(certificate[0], certificate[1])
		if err != nil {
			t.Fatal(err)
		}
		server.TLS = &tls.Config{Certificates: []tls.Certificate{loaded}, MinVersion: tls.VersionTLS12}
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	_, address, _ := strings.Cut(server.URL, "://")
	return address
}
