package bypass_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// TestImpostor runs a server in the verifier's place that lets everything pass: in plain text, with a certificate of an
// authority that the proxy does not trust, or with one for another name. No proxy sends it a token, and nothing reaches
// the upstream.
func TestImpostor(t *testing.T) {
	trusted, other := authority.New(t), authority.New(t)
	start := sync.OnceValue(func() *controlplane.ControlPlane { return install.ControlPlane(t, controlplane.Options{}) })
	plane := func(t testing.TB) *controlplane.ControlPlane {
		need.ControlPlane(t)
		return start()
	}
	const own = "the verifier's certificate" // With it everything passes, or the others would prove nothing.
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
			for name, p := range proxies.All() {
				if p.Unchecked {
					continue
				}
				t.Run(name, func(t *testing.T) {
					up := proxies.StartUpstream(t)
					at, _ := p.Start(t, b.world(), up)
					f := &front{testbed: b, address: at.HTTP1, upstream: up}
					status, err := send(t.Context(), f.address, f.request("token"), timeout)
					if err != nil || (status < http.StatusInternalServerError) != (kind == own) {
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
				t.Error("nobody is asked")
			} else if kind != own && n != 0 {
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

// impostor lets everything pass, over HTTP and over gRPC, and returns its address.
func impostor(t *testing.T, certificate [2]string, see func(*http.Request)) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		see(r)
		if r.Header.Get("Content-Type") == "application/grpc" {
			answerCheck(w)
			return
		}
		for _, name := range []string{"Id", "Name", "Scopes", "Tenant"} {
			w.Header().Set("X-Api-Key-"+name, "admin")
		}
	}))
	server.Config.ErrorLog = nil
	server.EnableHTTP2 = true
	if certificate[0] == "" {
		server.Config.Protocols = &http.Protocols{}
		server.Config.Protocols.SetHTTP1(true)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
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

// answerCheck answers a Check as gRPC does: a message with its length before it, and the status behind it.
func answerCheck(w http.ResponseWriter) {
	message, err := proto.Marshal(&authv3.CheckResponse{
		Status:       &status.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
	})
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	_, _ = w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...))
	w.Header().Set("Grpc-Status", "0")
}
