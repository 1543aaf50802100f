package proxies

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/enclave"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// Gateways are control planes that read the guide's objects from an API server and drive an Envoy.
//
// They and their Envoy run in an enclave: their ports can't be moved, and Kubernetes refuses endpoints on loopback. A
// package whose tests start one has a TestMain that calls enclave.Main.
var Gateways = map[string]Proxy{
	"contour": {
		Guide: "contour", File: "apikey.yaml", started: startContour,
		DeniesBy: http.StatusForbidden, Bounded: true,
	},
	"envoy-gateway": {Guide: "envoy-gateway", File: "apikey.yaml", started: startEnvoyGateway},
}

// objectsIn returns the objects of a file, in order.
func objectsIn(t testing.TB, text string) (all []Node) {
	t.Helper()
	for document := range strings.SplitSeq(text, "\n---\n") {
		all = append(all, parseYAML(t, document))
	}
	return all
}

// applyCRDs applies CustomResourceDefinitions, unless the control plane has one of them.
func applyCRDs(t testing.TB, cp *controlplane.ControlPlane, one string, files ...string) {
	t.Helper()
	if _, err := cp.RunKubectl(t.Context(), "get", "crd", one); err == nil {
		return
	}
	args := []string{"apply", "--server-side", "--force-conflicts"}
	for _, file := range files {
		args = append(args, "-f", file)
	}
	install.Kubectl(t, cp, args...)
	install.Kubectl(t, cp, "wait", "--for=condition=Established", "--timeout=2m", "crd", "--all")
}

// apply applies objects to a control plane.
func apply(t testing.TB, cp *controlplane.ControlPlane, objects ...any) {
	t.Helper()
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

// namespaceNamed returns a namespace.
func namespaceNamed(name string) Node {
	return Node{"apiVersion": "v1", "kind": "Namespace", "metadata": Node{"name": name}}
}

// serviceInside returns a Service whose endpoints are an enclave's own address, with the ports of those outside.
func serviceInside(t testing.TB, namespace, name string, port int, outside ...string) []any {
	t.Helper()
	all := []any{Node{
		"apiVersion": "v1", "kind": "Service", "metadata": Node{"name": name, "namespace": namespace},
		"spec": Node{"ports": []any{Node{"name": "main", "port": port, "protocol": "TCP"}}},
	}}
	for i, address := range outside {
		_, text, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		target, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, Node{
			"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
			"metadata": Node{
				"name": fmt.Sprintf("%s-%d", name, i), "namespace": namespace,
				"labels": Node{"kubernetes.io/service-name": name},
			},
			"endpoints": []any{Node{"addresses": []any{enclave.Address}, "conditions": Node{"ready": true}}},
			"ports":     []any{Node{"name": "main", "port": target, "protocol": "TCP"}},
		})
	}
	return all
}

// services returns the Services that a gateway's objects name. The name of a site's begins with the gateway's.
func services(t testing.TB, gateway string, up *Upstream, verifiers ...string) []any {
	t.Helper()
	all := []any{namespaceNamed("warehouse")}
	all = append(all, serviceInside(t, controlplane.SystemNamespace, "apikey-verifier", 9090, verifiers...)...)
	for _, s := range Sites {
		objects := serviceInside(t, "warehouse", gateway+"-"+s.Name, 80, up.Addresses[s.Name])
		if service, ok := objects[0].(Node); ok && up.HTTP2 {
			At(t, service, "spec", "ports", "0")["appProtocol"] = "kubernetes.io/h2c"
		}
		all = append(all, objects...)
	}
	return all
}

// shared returns what every gateway's enclave shares: the addresses of the verifiers, the upstreams and the API server.
func shared(
	t testing.TB, cp *controlplane.ControlPlane, up *Upstream, verifiers ...string,
) map[string]string {
	t.Helper()
	server := strings.Trim(strings.TrimPrefix(cp.Config.Host, "https://"), "/")
	all := map[string]string{server: server}
	for _, address := range append(slices.Collect(maps.Values(up.Addresses)), verifiers...) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		all[net.JoinHostPort(enclave.Address, port)] = address
	}
	return all
}

// addressOf returns the address of a client.
func addressOf(client net.Conn) string {
	host, _, _ := net.SplitHostPort(client.RemoteAddr().String())
	return host
}

// awaitRoutes waits until a gateway has a route for each site.
func awaitRoutes(t testing.TB, name string, e *enclave.Enclave, at Listening, up *Upstream) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			log := e.Log()
			t.Logf("%s:\n%s", name, log[max(0, len(log)-8000):])
		}
	})
	program.WaitUntil(t, timeout, name+"'s routes", func() error {
		select {
		case <-e.Exited():
			t.Fatalf("%s has ended:\n%s", name, e.Log())
		default:
		}
		for _, s := range Sites {
			for _, host := range s.Hosts {
				if err := isRouted(t, at.HTTP1, strings.Replace(host, "*", "www", 1)); err != nil {
					return fmt.Errorf("%s: %w", host, err)
				}
			}
		}
		return nil
	})
	up.Take()
}

var names = regexp.MustCompile(`(?i)[a-z0-9-]+(\.[a-z0-9-]+)*\.example\.com`)

// spokenOf returns the first of the sites' hosts that a client names, without consuming the client's bytes.
func spokenOf(client net.Conn) string {
	said := make([]byte, 8<<10)
	n := 0
	if tcp, ok := client.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			_ = raw.Read(func(fd uintptr) bool {
				var err error
				n, _, err = syscall.Recvfrom(int(fd), said, syscall.MSG_PEEK)
				return !errors.Is(err, syscall.EAGAIN)
			})
		}
	}
	for _, name := range names.FindAllString(string(said[:max(0, n)]), -1) {
		name = strings.ToLower(name)
		if slices.ContainsFunc(Sites, func(s Site) bool { return s.Serves(name) }) {
			return name
		}
	}
	return "api.example.com"
}

// startInside returns an address through which clients reach a server inside an enclave, from their own addresses.
func startInside(t testing.TB, e *enclave.Enclave, to string) string {
	t.Helper()
	return StartRelay(t, func(ctx context.Context, client net.Conn) (net.Conn, error) {
		return e.Dial(ctx, addressOf(client), to)
	})
}
