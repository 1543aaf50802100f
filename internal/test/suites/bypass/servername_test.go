package bypass_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// TestServerName names one host in the TLS handshake and another in the request. A proxy that routes by the first must
// not pass the request to an upstream that does not serve the second.
func TestServerName(t *testing.T) {
	b := newTestbed(t)
	hosts := []string{
		"admin.example.com", "vip.shop.example.com", "open.example.com", "api.example.com", "www.shop.example.com",
		"nobody.example.com",
	}
	for _, name := range []string{"traefik", "contour"} {
		t.Run(name, func(t *testing.T) {
			f := &front{testbed: b, upstream: proxies.StartUpstream(t), oracle: newOracle()}
			at, _ := allProxies()[name].Start(t, b.environment(), f.upstream)
			passed := map[string]int{}
			for _, said := range hosts {
				http1, http2 := at.Named(t, "http/1.1", said), at.Named(t, "h2", said)
				for _, host := range hosts {
					request := strings.Replace(string(f.request("token")), "api.example.com", host, 1)
					status, err := send(t.Context(), http1, []byte(request), hang)
					if err != nil || status == http.StatusOK && said != host && name == "contour" {
						t.Errorf("%s in the handshake, %s in the request: %d, %v", said, host, status, err)
					}
					sendHTTP2(t.Context(), t, http2, []field{
						{":method", "GET"}, {":scheme", "https"}, {":authority", host}, {":path", "/api/products"},
						{"authorization", "Bearer " + f.values["token"]}, {"x-tenant-id", acme},
					}, hang)
					if n := f.check(t); said == host {
						passed[host] = n
					}
				}
			}
			for _, host := range []string{"open.example.com", "api.example.com", "www.shop.example.com"} {
				if passed[host] < 2 {
					t.Errorf("%s: %d requests reach the upstream", host, passed[host])
				}
			}
		})
	}
}
