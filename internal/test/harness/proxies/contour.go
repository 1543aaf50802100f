package proxies

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/enclave"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/gomodule"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// startContour starts Contour and the Envoy that it drives, with the guide's objects: an HTTPProxy for each host.
func startContour(t testing.TB, p Proxy, e Environment, up *Upstream) (Listening, *program.Process) {
	t.Helper()
	contour, envoy := need.Program(t, "contour"), need.Program(t, "envoy")
	need.Program(t, need.Namespaces)
	cp := e.Plane(t)
	applyCRDs(t, cp, "httpproxies.projectcontour.io", filepath.Join(gomodule.Contour.Folder(t), gomodule.ContourCRDs))
	objects := append(services(t, "contour", up, e.Verifier.GRPC), traefikCertificate(t, "warehouse"), Node{
		"apiVersion": "v1", "kind": "Secret", "metadata": Node{"name": "apikey-ca", "namespace": "apikey-system"},
		"stringData": Node{"ca.crt": string(e.Authority.PEM)},
	})
	text, own := readGuide(t, p.Guide, p.File), readGuide(t, p.Guide, "contour.yaml")
	p.edit(t, &text, &own)
	guide := objectsIn(t, text)
	if len(guide) != 2 {
		t.Fatalf("the guide's file has %d objects", len(guide))
	}
	objects = append(objects, guide[0])
	for _, s := range Sites {
		objects = append(objects, contourSite(t, guide[1], s)...)
	}
	apply(t, cp, objects...)

	kubeconfig, err := cp.KubeconfigFor("contour", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	config := parseYAML(t, own)
	config["accesslog-level"] = "disabled"
	file := filepath.Join(t.TempDir(), "contour.yaml")
	writeYAML(t, file, config)
	bootstrap := contourBootstrap(t, contour)
	inside := enclave.Start(t, enclave.Options{
		Shared: shared(t, cp, up, e.Verifier.GRPC),
		Programs: []enclave.Program{
			{Command: []string{contour, "serve", "--config-path", file, "--kubeconfig", kubeconfig, "--insecure",
				"--xds-address", "127.0.0.1", "--xds-port", "8001", "--disable-leader-election"}},
			{Command: []string{envoy, "-c", bootstrap, "--service-cluster", "projectcontour", "--service-node", "envoy",
				"--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"}, After: "127.0.0.1:8001"},
		},
	})
	at := Listening{
		HTTP1: startTLSInside(t, inside, "http/1.1", spokenOf), HTTP2: startTLSInside(t, inside, "h2", spokenOf),
		Named: func(t testing.TB, protocol, serverName string) string {
			t.Helper()
			return startTLSInside(t, inside, protocol, func(net.Conn) string { return serverName })
		},
		Plain: startInside(t, inside, "127.0.0.1:8080"),
	}
	awaitRoutes(t, p.Guide, inside, at, up)
	return at, inside.Process
}

// contourBootstrap returns the file with which Envoy finds Contour.
func contourBootstrap(t testing.TB, contour string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "contour-") // A socket's path has 107 bytes, and those of t.TempDir are long.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(dir, "envoy.json")
	if out, err := exec.CommandContext(t.Context(), contour, "bootstrap", file, "--xds-address", "127.0.0.1",
		"--xds-port", "8001", "--admin-address", filepath.Join(dir, "admin.sock")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// contourSite returns an HTTPProxy for each host of a site, whose author also wants it served over plain HTTP.
func contourSite(t testing.TB, guide Node, s Site) (all []any) {
	t.Helper()
	for i, host := range s.Hosts {
		own := Clone(t, guide)
		At(t, own, "metadata")["name"] = fmt.Sprintf("%s-%d", s.Name, i)
		virtual := At(t, own, "spec", "virtualhost")
		if virtual["fqdn"] != GuideHost {
			t.Fatalf("the guide's proxy is for %v", virtual["fqdn"])
		}
		virtual["fqdn"] = host
		At(t, own, "spec", "routes", "0")["permitInsecure"] = true
		At(t, own, "spec", "routes", "0", "conditions", "0")["prefix"] = "/"
		At(t, own, "spec", "routes", "0", "services", "0")["name"] = "contour-" + s.Name
		all = append(all, own)
	}
	return all
}

// startTLSInside returns an address that passes on over TLS, to Contour's Envoy, what clients send in plain text. Envoy
// routes by the name in the handshake.
func startTLSInside(t testing.TB, e *enclave.Enclave, protocol string, name func(client net.Conn) string) string {
	t.Helper()
	return StartRelay(t, func(ctx context.Context, client net.Conn) (net.Conn, error) {
		conn, err := e.Dial(ctx, addressOf(client), "127.0.0.1:8443")
		if err != nil {
			return nil, err
		}
		tlsConn := tls.Client(conn, &tls.Config{
			InsecureSkipVerify: true, // Nothing here is about whom the client trusts.
			NextProtos:         []string{protocol}, ServerName: name(client),
		})
		if err := tlsConn.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return tlsConn, nil
	})
}
