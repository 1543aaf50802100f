package bypass_test

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// TestOtherHosts asks every proxy for hosts that no site serves, with a verifier that allows everything. The proxy
// refuses them by itself, as its guide says: it does not ask the verifier, and no upstream gets the request. The test
// fails without the line of HAProxy and HAProxy Ingress that denies other hosts, without Caddy's site for them, and
// without nginx's server for them.
func TestOtherHosts(t *testing.T) {
	trusted := authority.New(t)
	var asked atomic.Int32
	address := impostor(t, pair(t, trusted, authority.VerifierName), func(*http.Request) { asked.Add(1) })
	b := &testbed{
		Installation: &install.Installation{
			Verifier: &install.Verifier{Addresses: install.Addresses{HTTP: address, GRPC: address}},
		},
		authority: trusted, startPlane: planeOf(t),
	}
	all := allProxies()
	delete(all, "traefik")
	for name, p := range all {
		t.Run(name, func(t *testing.T) {
			up := proxies.StartUpstream(t)
			at, _ := p.Start(t, b.environment(), up)
			if status := get(t, at.HTTP1, "api.example.com"); status != http.StatusOK || len(up.Take()) != 1 {
				t.Fatalf("status %d for the API's own host", status)
			}
			asked.Store(0)
			want := http.StatusMisdirectedRequest
			if !slices.Contains([]string{"nginx", "haproxy", "caddy", "contour"}, name) {
				want = http.StatusNotFound // Controllers answer this way.
			}
			for _, host := range []string{
				"nobody.example.com", "api.example.com.evil.example", "evilapi.example.com", "example.com", "127.0.0.1",
				"localhost:80",
			} {
				if status := get(t, at.HTTP1, host); status != want {
					t.Errorf("%s: status %d, want %d", host, status, want)
				}
			}
			if n := asked.Load(); n != 0 {
				t.Errorf("the verifier is asked %d times", n)
			}
			for _, r := range up.Take() {
				t.Errorf("%.200q reaches the upstream of %s", r.Head, r.Site.Name)
			}
		})
	}
}

// get requests a path of a host from a proxy, and returns the status of the answer.
func get(t *testing.T, address, host string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/api/products", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: timeout}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}
