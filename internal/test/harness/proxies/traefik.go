package proxies

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/gomodule"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// traefik reads the guide's objects from the control plane.
var traefik = Proxy{Guide: "traefik", File: "apikey.yaml", started: startTraefik}

// startTraefik starts a Traefik with the guide's own configuration, which reads the guide's objects from an API server.
// Only addresses differ: where it listens, and the ports of the upstreams. The verifier's name is as it is, and so is
// what its certificate is checked for: Traefik is told to connect by way of a proxy, which knows where that name is.
func startTraefik(t testing.TB, p Proxy, e Environment, up *Upstream) (Listening, *program.Process) {
	t.Helper()
	binary := need.Program(t, "traefik")
	cp := e.Plane(t)
	objects, text := readGuide(t, p.Guide, p.File), readGuide(t, p.Guide, "static.yaml")
	p.edit(t, &objects, &text)
	namespace := applyTraefik(t, cp, e, up, objects)
	kubeconfig, err := cp.KubeconfigFor("traefik", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	static := parseYAML(t, text)
	address := program.FreeAddress(t)
	At(t, static, "entryPoints", "websecure")["address"] = address
	static["providers"] = Node{"kubernetesCRD": Node{
		"allowExternalNameServices": true, "namespaces": []any{namespace},
	}}
	static["log"] = Node{"level": "ERROR"}
	static["global"] = Node{"checkNewVersion": false, "sendAnonymousUsage": false}
	dir := t.TempDir()
	config := filepath.Join(dir, "traefik.yaml")
	writeYAML(t, config, static)
	tunnel := startTunnel(t, "apikey-verifier.apikey-system.svc.cluster.local:8080", e.Verifier.HTTP)
	process := program.Start(t, "/usr/bin/env",
		"KUBECONFIG="+kubeconfig, "HTTPS_PROXY=http://"+tunnel, binary, "--configFile="+config)
	waitUntilListening(t, p.Guide, process, address)
	proxied := strings.Contains(text, "proxyProtocol")
	at := Listening{Named: func(t testing.TB, protocol, serverName string) string {
		t.Helper()
		return startTLS(t, address, protocol, serverName, proxied)
	}}
	at.HTTP1, at.HTTP2 = at.Named(t, "http/1.1", GuideHost), at.Named(t, "h2", GuideHost)
	program.WaitUntil(t, timeout, "Traefik's routes", func() error {
		for _, s := range Sites {
			if err := isRouted(t, at.HTTP1, strings.Replace(s.Hosts[0], "*", "www", 1)); err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
		}
		return nil
	})
	up.Take()
	return at, process
}

// isRouted reports, by a nil error, that a proxy knows a host.
func isRouted(t testing.TB, address, host string) error {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", http.NoBody)
	if err != nil {
		return err
	}
	request.Host = host
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: timeout}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return errors.New("no route")
	}
	return nil
}

// applyTraefik applies the guide's objects, with a route for each site, and returns their namespace.
func applyTraefik(
	t testing.TB, cp *controlplane.ControlPlane, e Environment, up *Upstream, guide string,
) (namespace string) {
	t.Helper()
	install.Kubectl(t, cp, "apply", "--server-side", "-f", filepath.Join(gomodule.Traefik.Folder(t), gomodule.TraefikCRDs))
	install.Kubectl(t, cp, "wait", "--for=condition=Established", "--timeout=2m", "crd", "--all")
	documents := strings.Split(guide, "\n---\n")
	if len(documents) < 2 {
		t.Fatal("the guide's file has other objects than a Middleware and an IngressRoute")
	}
	route := documents[len(documents)-1]
	namespace = fmt.Sprint(At(t, parseYAML(t, route), "metadata")["namespace"])
	objects := []any{
		Node{"apiVersion": "v1", "kind": "Namespace", "metadata": Node{"name": namespace}},
		Node{
			"apiVersion": "v1", "kind": "Secret", "metadata": Node{"name": "apikey-ca", "namespace": namespace},
			"stringData": Node{"ca.crt": string(e.Authority.PEM)},
		},
		traefikCertificate(t, namespace),
	}
	for _, document := range documents[:len(documents)-1] {
		objects = append(objects, parseYAML(t, document))
	}
	for _, s := range Sites {
		host, port, err := net.SplitHostPort(up.Addresses[s.Name])
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, traefikSite(t, parseYAML(t, route), s, port)...)
		objects = append(objects, Node{ // No endpoint may have an address on loopback.
			"apiVersion": "v1", "kind": "Service", "metadata": Node{"name": s.Name, "namespace": namespace},
			"spec": Node{"type": "ExternalName", "externalName": host},
		})
	}
	apply(t, cp, objects...)
	return namespace
}

// traefikSite returns a route for each host of a site. Those for one host come before those for many.
func traefikSite(t testing.TB, route Node, s Site, port string) (all []any) {
	t.Helper()
	const match = "Host(`" + GuideHost + "`) && PathPrefix(`/api`)"
	for i, host := range s.Hosts {
		own := Clone(t, route)
		At(t, own, "metadata")["name"] = fmt.Sprintf("%s-%d", s.Name, i)
		rule := At(t, own, "spec", "routes", "0")
		if rule["match"] != match {
			t.Fatalf("the guide's route matches %v", rule["match"])
		}
		rule["match"], rule["priority"] = "Host(`"+host+"`)", 2
		if suffix, wildcard := strings.CutPrefix(host, "*"); wildcard {
			rule["match"], rule["priority"] = "HostRegexp(`^.+"+strings.ReplaceAll(suffix, ".", `\.`)+"$`)", 1
		}
		service := At(t, rule, "services", "0")
		service["name"], service["port"] = s.Name, json.Number(port)
		all = append(all, own)
	}
	return all
}

// traefikCertificate returns the Secret that the guide's route names.
func traefikCertificate(t testing.TB, namespace string) Node {
	t.Helper()
	certificate, key := authority.New(t).Serving(t, GuideHost)
	return Node{
		"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
		"metadata":   Node{"name": "your-nexuscommerce-com", "namespace": namespace},
		"stringData": Node{"tls.crt": readText(t, certificate), "tls.key": readText(t, key)},
	}
}

// startTLS returns an address at which what clients say in plain text is passed on over TLS, from their own addresses.
// Where that is asked for, a header of the PROXY protocol stays in front of it.
func startTLS(t testing.TB, address, protocol, serverName string, proxied bool) string {
	t.Helper()
	config := &tls.Config{
		InsecureSkipVerify: true, // Nothing here is about whom the client trusts.
		NextProtos:         []string{protocol},
		ServerName:         serverName,
	}
	return StartRelay(t, func(ctx context.Context, client net.Conn) (net.Conn, error) {
		from, _, err := net.SplitHostPort(client.RemoteAddr().String())
		if err != nil {
			return nil, err
		}
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		said := ""
		if proxied {
			if said, err = passProxyHeader(client, conn); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
		}
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		_, err = io.WriteString(secured, said)
		return secured, err
	})
}

// passProxyHeader passes on a header of the PROXY protocol, if there is one. Otherwise it returns what it has read.
func passProxyHeader(from io.Reader, to io.Writer) (read string, err error) {
	const signature = "PROXY "
	line := make([]byte, len(signature))
	if _, err := io.ReadFull(from, line); err != nil || string(line) != signature {
		return string(line), err
	}
	for one := make([]byte, 1); !strings.HasSuffix(string(line), "\r\n"); line = append(line, one...) {
		if _, err := io.ReadFull(from, one); err != nil {
			return "", err
		}
	}
	_, err = to.Write(line)
	return "", err
}

// startTunnel returns the address of an HTTP proxy that connects to a name by connecting to an address, and to nothing
// else.
func startTunnel(t testing.TB, name, address string) string {
	t.Helper()
	return StartRelay(t, func(ctx context.Context, client net.Conn) (net.Conn, error) {
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
