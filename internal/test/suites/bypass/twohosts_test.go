package bypass_test

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// TestTwoHosts sends the cases about hosts through nginx, Caddy and HAProxy. A server in the verifier's place lets pass
// whatever it is told to be for open.example.com, and nothing else. So a request that reaches another upstream was
// decided about by another host than the one that has chosen the upstream. It needs no API server, and is done in
// seconds, for whoever changes a guide.
//
// It fails with $http_host in place of $host where nginx asks the verifier or the upstream, without the snippets of
// ingress-nginx and of NGINX Gateway Fabric, or where they compare only a part of a host, and without the lines of
// Caddy and HAProxy that write X-Forwarded-Host.
func TestTwoHosts(t *testing.T) {
	values := map[string]string{"host": "Host: api.example.com\r\n", "key": "X-Tenant-ID: " + acme + "\r\n"}
	for _, name := range placeholders {
		if values[name] == "" {
			values[name] = "x"
		}
	}
	var cases []attack
	for _, c := range readCorpus(t, "hostile.txt", values) {
		if strings.HasPrefix(c.id, "two-hosts-") || strings.HasPrefix(c.id, "host-") {
			cases = append(cases, c)
		}
	}
	opening := []attack{{id: "open", raw: []byte("GET /users HTTP/1.1\r\nHost: open.example.com\r\n\r\n")}}
	trusted := authority.New(t)
	address := proxies.StandIn(t, pair(t, trusted, authority.VerifierName), opensOneHost)
	b := &testbed{
		Installation: &install.Installation{Verifier: &install.Verifier{Addresses: install.Addresses{HTTP: address}}},
		authority:    trusted,
	}
	all := maps.Clone(proxies.Text)
	all["caddy, which trusts the proxy before it"] = proxies.TrustsItsClients()
	for name, p := range all {
		if p.OnlyProducts {
			continue // The verifier is told no host.
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := proxies.StartUpstream(t)
			at, _ := p.Start(t, b.environment(), up)
			target{upstream: up, send: func(ctx context.Context, raw []byte, wait time.Duration) error {
				_, err := send(ctx, at.HTTP1, raw, wait)
				return err
			}}.run(t, cases, opening)
		})
	}
}

// opensOneHost answers in the verifier's place: it lets pass what it is told to be for open.example.com. It does the
// same for hosts of no site that begin or end like one which is another site's: admin.example.com.open.example.com, and
// shop.example.com.
func opensOneHost(w http.ResponseWriter, r *http.Request) {
	told := r.Host
	switch r.URL.Path { // Each dialect has one place for the host. What a client wrote elsewhere counts for nothing.
	case "/auth/nginx":
		_, rest, _ := strings.Cut(strings.Join(r.Header.Values("X-Original-URL"), ","), "://")
		told, _, _ = strings.Cut(rest, "/")
	case "/auth/forward":
		told = strings.Join(r.Header.Values("X-Forwarded-Host"), ",")
	}
	host, ok := access.CanonicalHost(told)
	if !ok || host != "open.example.com" && host != "shop.example.com" && !strings.HasSuffix(host, ".open.example.com") {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	for _, name := range []string{"Id", "Name", "Scopes", "Tenant"} {
		w.Header().Set("X-Api-Key-"+name, "")
	}
}
