package bypass_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/gomodule"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// traefik reads the guide's objects from the control plane.
var traefik = proxy{guide: "traefik", file: "apikey.yaml", started: startTraefik}

// startTraefik starts a Traefik with the guide's own configuration, which reads the guide's objects from an API server.
// Only addresses differ: where it listens, and the ports of the upstreams. The verifier's name is as it is, and so is
// what its certificate is checked for: Traefik is told to connect by way of a proxy, which knows where that name is.
func startTraefik(t *testing.T, p proxy, b *testbed, up *upstream) (listening, *program.Process) {
	t.Helper()
	binary := need.Program(t, "traefik")
	cp := b.plane(t)
	applyTraefik(t, cp, b, up)
	kubeconfig, err := cp.KubeconfigFor("traefik", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	var static node
	if err := yaml.UnmarshalStrict([]byte(readGuide(t, p.guide, "static.yaml")), &static); err != nil {
		t.Fatal(err)
	}
	address := program.FreeAddress(t)
	mappingAt(t, static, "entryPoints", "websecure")["address"] = address
	static["providers"] = node{"kubernetesCRD": node{"allowExternalNameServices": true}}
	static["log"] = node{"level": "ERROR"}
	static["global"] = node{"checkNewVersion": false, "sendAnonymousUsage": false}
	dir := t.TempDir()
	config := filepath.Join(dir, "traefik.yaml")
	writeYAML(t, config, static)
	tunnel := startTunnel(t, "apikey-verifier.apikey-system.svc.cluster.local:8080", b.Verifier.HTTP)
	process := program.Start(t, "/usr/bin/env",
		"KUBECONFIG="+kubeconfig, "HTTPS_PROXY=http://"+tunnel, binary, "--configFile="+config)
	waitUntilListening(t, p.guide, process, address)
	at := listening{http1: startTLS(t, address, "http/1.1"), http2: startTLS(t, address, "h2")}
	program.WaitUntil(t, timeout, "Traefik's routes", func() error {
		for _, s := range sites {
			request := strings.Replace(fence, "api.example.com", strings.Replace(s.hosts[0], "*", "www", 1), 1)
			status, err := send(t.Context(), at.http1, []byte(request), timeout)
			if err != nil || status == 0 || status == http.StatusNotFound {
				return fmt.Errorf("%s: status %d, error %w", s.name, status, err)
			}
		}
		return nil
	})
	up.take()
	return at, process
}

// applyTraefik applies the guide's objects, with a route for each site.
func applyTraefik(t *testing.T, cp *controlplane.ControlPlane, b *testbed, up *upstream) {
	t.Helper()
	install.Kubectl(t, cp, "apply", "--server-side", "-f", filepath.Join(gomodule.Traefik.Folder(t), gomodule.TraefikCRDs))
	install.Kubectl(t, cp, "wait", "--for=condition=Established", "--timeout=2m", "crd", "--all")
	middleware, route, found := strings.Cut(readGuide(t, "traefik", "apikey.yaml"), "\n---\n")
	if !found {
		t.Fatal("the guide's file has other objects than two")
	}
	objects := []any{
		node{"apiVersion": "v1", "kind": "Namespace", "metadata": node{"name": "warehouse"}},
		node{
			"apiVersion": "v1", "kind": "Secret", "metadata": node{"name": "apikey-ca", "namespace": "warehouse"},
			"stringData": node{"ca.crt": string(b.authority.PEM)},
		},
		traefikCertificate(t),
		parseYAML(t, middleware),
	}
	for _, s := range sites {
		host, port, err := net.SplitHostPort(up.addresses[s.name])
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, traefikSite(t, parseYAML(t, route), s, port)...)
		objects = append(objects, node{ // No endpoint may have an address on loopback.
			"apiVersion": "v1", "kind": "Service", "metadata": node{"name": s.name, "namespace": "warehouse"},
			"spec": node{"type": "ExternalName", "externalName": host},
		})
	}
	var all strings.Builder
	for _, object := range objects {
		content, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString("---\n" + string(content))
	}
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	install.Kubectl(t, cp, "apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", file)
}

// traefikSite returns a route for each host of a site. Those for one host come before those for many.
func traefikSite(t *testing.T, route node, s site, port string) (all []any) {
	t.Helper()
	const match = "Host(`" + guideHost + "`) && PathPrefix(`/api`)"
	for i, host := range s.hosts {
		own := clone(t, route)
		mappingAt(t, own, "metadata")["name"] = fmt.Sprintf("%s-%d", s.name, i)
		rule := mappingAt(t, own, "spec", "routes", "0")
		if rule["match"] != match {
			t.Fatalf("the guide's route matches %v", rule["match"])
		}
		rule["match"], rule["priority"] = "Host(`"+host+"`)", 2
		if suffix, wildcard := strings.CutPrefix(host, "*"); wildcard {
			rule["match"], rule["priority"] = "HostRegexp(`^.+"+strings.ReplaceAll(suffix, ".", `\.`)+"$`)", 1
		}
		service := mappingAt(t, rule, "services", "0")
		service["name"], service["port"] = s.name, json.Number(port)
		all = append(all, own)
	}
	return all
}

// traefikCertificate returns the Secret that the guide's route names.
func traefikCertificate(t *testing.T) node {
	t.Helper()
	certificate, key := authority.New(t).Serving(t, guideHost)
	return node{
		"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
		"metadata":   node{"name": "your-nexuscommerce-com", "namespace": "warehouse"},
		"stringData": node{"tls.crt": readText(t, certificate), "tls.key": readText(t, key)},
	}
}

func parseYAML(t *testing.T, text string) (object node) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	return object
}

func writeYAML(t *testing.T, path string, object any) {
	t.Helper()
	content, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// startTLS returns an address at which what clients say in plain text is passed on over TLS, from their own addresses.
func startTLS(t *testing.T, address, protocol string) string {
	t.Helper()
	config := &tls.Config{
		InsecureSkipVerify: true, // Nothing here is about whom the client trusts.
		NextProtos:         []string{protocol},
		ServerName:         guideHost,
	}
	return startRelay(t, func(ctx context.Context, client net.Conn) (net.Conn, error) {
		from, _, err := net.SplitHostPort(client.RemoteAddr().String())
		if err != nil {
			return nil, err
		}
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", address)
	})
}

// startTunnel returns the address of an HTTP proxy that connects to a name by connecting to an address, and to nothing
// else.
func startTunnel(t *testing.T, name, address string) string {
	t.Helper()
	return startRelay(t, func(ctx context.Context, client net.Conn) (net.Conn, error) {
		// The client waits for the answer, so nothing is read beyond its request.
		request, err := http.ReadRequest(bufio.NewReaderSize(client, 16))
		if err != nil {
			return nil, err
		}
		if request.Method != http.MethodConnect || request.Host != name {
			_, _ = io.WriteString(client, "HTTP/1.1 403 Forbidden\r\n\r\n")
			return nil, fmt.Errorf("%s %s", request.Method, request.Host)
		}
		other, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			_, _ = io.WriteString(client, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
			return nil, err
		}
		_, err = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		return other, err
	})
}
