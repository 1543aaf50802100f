package bypass_test

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// TestImpostor replaces the verifier by a server that allows everything: in plain text, with a certificate of an
// authority that the proxy does not trust, or with one for another name. No proxy sends it a token, and nothing reaches
// the upstream.
func TestImpostor(t *testing.T) {
	trusted, other := authority.New(t), authority.New(t)
	plane := planeOf(t)
	const own = "the verifier's certificate" // This one must let requests pass, or the other cases would prove nothing.
	for kind, certificate := range map[string][2]string{
		own:                 pair(t, trusted, authority.VerifierName),
		"plain text":        {},
		"another authority": pair(t, other, authority.VerifierName),
		"another name":      pair(t, trusted, "api.warehouse.svc.cluster.local"),
	} {
		t.Run(kind, func(t *testing.T) {
			var asked atomic.Int32
			const token = "nxc_live_any"
			address := impostor(t, certificate, func(r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if r.Header.Get("Authorization") != "" || bytes.Contains(body, []byte(token)) {
					asked.Add(1)
				}
			})
			b := &testbed{
				Installation: &install.Installation{
					Verifier: &install.Verifier{Addresses: install.Addresses{HTTP: address, GRPC: address}},
				},
				authority: trusted, values: map[string]string{"token": token}, startPlane: plane,
			}
			for name, p := range allProxies() {
				if p.Unchecked {
					continue
				}
				t.Run(name, func(t *testing.T) {
					up := proxies.StartUpstream(t)
					at, _ := p.Start(t, b.environment(), up)
					f := &front{testbed: b, address: at.HTTP1, upstream: up}
					status, err := send(t.Context(), f.address, f.request("token"), timeout)
					denied := status >= http.StatusInternalServerError || p.DeniesBy != 0 && status == p.DeniesBy
					if err != nil || denied == (kind == own) {
						t.Errorf("%d, %v", status, err)
					}
					for _, r := range up.Take() {
						if r.Target != fenceTarget && kind != own {
							t.Errorf("%.200q reaches the upstream", redact(r.Head))
						}
					}
				})
			}
			if n := asked.Load(); kind == own && n == 0 {
				t.Error("the impostor is not asked")
			} else if kind != own && n != 0 {
				t.Errorf("%d tokens were sent to a server that can't prove that it is the verifier", n)
			}
		})
	}
}

// planeOf returns a function that starts a control plane once, which ends with the test and not with a subtest.
func planeOf(t *testing.T) func(t testing.TB) *controlplane.ControlPlane {
	t.Helper()
	start := sync.OnceValue(func() *controlplane.ControlPlane { return install.ControlPlane(t, controlplane.Options{}) })
	return func(t testing.TB) *controlplane.ControlPlane {
		t.Helper()
		need.ControlPlane(t)
		return start()
	}
}

func pair(t *testing.T, by *authority.Authority, name string) [2]string {
	t.Helper()
	certificate, key := by.Serving(t, name)
	return [2]string{certificate, key}
}

// impostor starts a server that allows everything, over HTTP and over gRPC, and returns its address. It calls a
// function with each request.
func impostor(t *testing.T, certificate [2]string, see func(*http.Request)) string {
	t.Helper()
	return proxies.StandIn(t, certificate, func(w http.ResponseWriter, r *http.Request) {
		see(r)
		proxies.Pass(w, r)
	})
}
