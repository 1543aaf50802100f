package proxies

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// Envoys are the ways in which Envoy can ask the verifier.
var Envoys = map[string]Proxy{
	"envoy-grpc": {Guide: "envoy", File: "grpc.yaml", started: startEnvoy},
	// Versions of Envoy without encode_raw_headers send headers this way: joined, in a map.
	"envoy-grpc-joined-headers": {Guide: "envoy", File: "grpc.yaml", started: startEnvoyThatJoins},
	"envoy-http":                {Guide: "envoy", File: "http.yaml", started: startEnvoy},
}

func startEnvoyThatJoins(t testing.TB, p Proxy, e Environment, up *Upstream) (Listening, *program.Process) {
	t.Helper()
	return StartEnvoyWith(t, p, e, up, func(config Node) {
		filter := At(t, connectionManager(t, config), "http_filters", "0", "typed_config")
		if filter["encode_raw_headers"] != true {
			t.Fatal("the guide's file has no encode_raw_headers")
		}
		delete(filter, "encode_raw_headers")
	})
}

func startEnvoy(t testing.TB, p Proxy, e Environment, up *Upstream) (Listening, *program.Process) {
	t.Helper()
	return StartEnvoyWith(t, p, e, up, func(Node) {})
}

// StartEnvoyWith starts an Envoy with the guide's file and a change.
func StartEnvoyWith(
	t testing.TB, p Proxy, e Environment, up *Upstream, change func(config Node),
) (Listening, *program.Process) {
	t.Helper()
	binary := need.Program(t, "envoy")
	text := readGuide(t, p.Guide, p.File)
	p.edit(t, &text)
	config := parseYAML(t, text)
	address := program.FreeAddress(t)
	SetAddress(t, At(t, config, "static_resources", "listeners", "0"), "address", address)
	envoySites(t, config, up)
	asked := 0
	for _, cluster := range List(t, At(t, config, "static_resources"), "clusters") {
		verifiers := map[string]string{"apikey-verifier": e.Verifier.GRPC, "apikey-verifier-http": e.Verifier.HTTP}
		if verifier, ok := verifiers[fmt.Sprint(cluster["name"])]; ok {
			asked++
			setEndpoint(t, cluster, verifier)
			tls := At(t, cluster, "transport_socket", "typed_config", "common_tls_context")
			At(t, tls, "validation_context", "trusted_ca")["filename"] = e.Authority.File
		}
	}
	if asked != 1 {
		t.Fatalf("%d clusters ask a verifier", asked)
	}
	change(config)
	file := filepath.Join(t.TempDir(), "envoy.yaml")
	writeYAML(t, file, config)
	process := program.Start(t, binary,
		"--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c", file)
	waitUntilListening(t, p.Guide, process, address)
	return Listening{HTTP1: address, HTTP2: address}, process // Envoy detects it from the first bytes.
}

// connectionManager returns the HTTP connection manager of a configuration.
func connectionManager(t testing.TB, config Node) Node {
	t.Helper()
	return At(t, config, "static_resources", "listeners", "0", "filter_chains", "0", "filters", "0", "typed_config")
}

// envoySites turns the guide's configuration for one host into one for all sites, with a virtual host and a cluster for
// each.
func envoySites(t testing.TB, config Node, up *Upstream) {
	t.Helper()
	routes := At(t, connectionManager(t, config), "route_config")
	resources := At(t, config, "static_resources")
	guideHosts, guideClusters := List(t, routes, "virtual_hosts"), List(t, resources, "clusters")
	if len(guideHosts) != 1 || fmt.Sprint(guideHosts[0]["domains"]) != "["+GuideHost+"]" {
		t.Fatalf("the guide's file has other virtual hosts than one for %s: %v", GuideHost, guideHosts)
	}
	var hosts, clusters []any
	for _, s := range Sites {
		host := Clone(t, guideHosts[0])
		host["name"], host["domains"] = s.Name, s.Hosts
		for _, route := range List(t, host, "routes") {
			At(t, route, "route")["cluster"] = s.Name
		}
		hosts = append(hosts, host)
	}
	for _, cluster := range guideClusters {
		if cluster["name"] != "api" {
			clusters = append(clusters, cluster)
			continue
		}
		for _, s := range Sites {
			own := Clone(t, cluster)
			own["name"] = s.Name
			At(t, own, "load_assignment")["cluster_name"] = s.Name
			setEndpoint(t, own, up.Addresses[s.Name])
			clusters = append(clusters, own)
		}
	}
	if len(clusters) != len(guideClusters)+len(Sites)-1 {
		t.Fatal("the guide's file has no cluster api")
	}
	routes["virtual_hosts"], resources["clusters"] = hosts, clusters
}

// setEndpoint gives a cluster a single address.
func setEndpoint(t testing.TB, cluster Node, address string) {
	t.Helper()
	endpoint := At(t, cluster, "load_assignment", "endpoints", "0", "lb_endpoints", "0", "endpoint")
	SetAddress(t, endpoint, "address", address)
}

// SetAddress sets the socket address at a key of a mapping.
func SetAddress(t testing.TB, in Node, key, address string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	socket := At(t, in, key, "socket_address")
	socket["address"], socket["port_value"] = host, number
}
