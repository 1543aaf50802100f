package bypass_test

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// node is a mapping of a YAML document.
type node = map[string]any

// envoys are the ways by which Envoy can ask the verifier. change is what is done to the guide's file beside the
// addresses.
var envoys = map[string]proxy{
	"envoy-grpc": {guide: "envoy", file: "grpc.yaml", started: startEnvoy},
	// As versions of Envoy send headers that don't know encode_raw_headers: joined, in a map.
	"envoy-grpc-joined-headers": {guide: "envoy", file: "grpc.yaml", started: startEnvoyThatJoins},
	"envoy-http":                {guide: "envoy", file: "http.yaml", started: startEnvoy},
}

func startEnvoyThatJoins(t *testing.T, p proxy, b *testbed, up *upstream) (listening, *program.Process) {
	t.Helper()
	return startEnvoyWith(t, p, b, up, func(config node) {
		filter := mappingAt(t, connectionManager(t, config), "http_filters", "0", "typed_config")
		if filter["encode_raw_headers"] != true {
			t.Fatal("the guide's file has no encode_raw_headers")
		}
		delete(filter, "encode_raw_headers")
	})
}

func startEnvoy(t *testing.T, p proxy, b *testbed, up *upstream) (listening, *program.Process) {
	t.Helper()
	return startEnvoyWith(t, p, b, up, func(node) {})
}

// startEnvoyWith starts an Envoy with the guide's file, after a change.
func startEnvoyWith(
	t *testing.T, p proxy, b *testbed, up *upstream, change func(config node),
) (listening, *program.Process) {
	t.Helper()
	binary := need.Program(t, "envoy")
	var config node
	if err := yaml.UnmarshalStrict([]byte(readGuide(t, p.guide, p.file)), &config); err != nil {
		t.Fatal(err)
	}
	address := program.FreeAddress(t)
	setAddress(t, mappingAt(t, config, "static_resources", "listeners", "0"), "address", address)
	envoySites(t, config, up)
	asked := 0
	for _, cluster := range listOf(t, mappingAt(t, config, "static_resources"), "clusters") {
		verifiers := map[string]string{"apikey-verifier": b.Verifier.GRPC, "apikey-verifier-http": b.Verifier.HTTP}
		if verifier, ok := verifiers[fmt.Sprint(cluster["name"])]; ok {
			asked++
			setEndpoint(t, cluster, verifier)
			tls := mappingAt(t, cluster, "transport_socket", "typed_config", "common_tls_context")
			mappingAt(t, tls, "validation_context", "trusted_ca")["filename"] = b.authority.File
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
	waitUntilListening(t, p.guide, process, address)
	return listening{http1: address, http2: address}, process // Envoy tells the two apart by how a connection begins.
}

// connectionManager returns the HTTP connection manager of a configuration.
func connectionManager(t *testing.T, config node) node {
	t.Helper()
	return mappingAt(t, config, "static_resources", "listeners", "0", "filter_chains", "0", "filters", "0", "typed_config")
}

// envoySites turns the guide's configuration, which is for one host, into one for all sites: a virtual host and a
// cluster for each.
func envoySites(t *testing.T, config node, up *upstream) {
	t.Helper()
	routes := mappingAt(t, connectionManager(t, config), "route_config")
	resources := mappingAt(t, config, "static_resources")
	guideHosts, guideClusters := listOf(t, routes, "virtual_hosts"), listOf(t, resources, "clusters")
	if len(guideHosts) != 1 || fmt.Sprint(guideHosts[0]["domains"]) != "["+guideHost+"]" {
		t.Fatalf("the guide's file has other virtual hosts than one for %s: %v", guideHost, guideHosts)
	}
	var hosts, clusters []any
	for _, s := range sites {
		host := clone(t, guideHosts[0])
		host["name"], host["domains"] = s.name, s.hosts
		for _, route := range listOf(t, host, "routes") {
			mappingAt(t, route, "route")["cluster"] = s.name
		}
		hosts = append(hosts, host)
	}
	for _, cluster := range guideClusters {
		if cluster["name"] != "api" {
			clusters = append(clusters, cluster)
			continue
		}
		for _, s := range sites {
			own := clone(t, cluster)
			own["name"] = s.name
			mappingAt(t, own, "load_assignment")["cluster_name"] = s.name
			setEndpoint(t, own, up.addresses[s.name])
			clusters = append(clusters, own)
		}
	}
	if len(clusters) != len(guideClusters)+len(sites)-1 {
		t.Fatal("the guide's file has no cluster api")
	}
	routes["virtual_hosts"], resources["clusters"] = hosts, clusters
}

// setEndpoint has a cluster consist of one address.
func setEndpoint(t *testing.T, cluster node, address string) {
	t.Helper()
	endpoint := mappingAt(t, cluster, "load_assignment", "endpoints", "0", "lb_endpoints", "0", "endpoint")
	setAddress(t, endpoint, "address", address)
}

func setAddress(t *testing.T, in node, key, address string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	socket := mappingAt(t, in, key, "socket_address")
	socket["address"], socket["port_value"] = host, number
}

// mappingAt returns the mapping at a path of keys and of numbers of elements.
func mappingAt(t *testing.T, in node, path ...string) node {
	t.Helper()
	var value any = in
	for _, step := range path {
		switch inner := value.(type) {
		case node:
			value = inner[step]
		case []any:
			index, err := strconv.Atoi(step)
			if err != nil || index >= len(inner) {
				t.Fatalf("no %s: there is no element %s", strings.Join(path, "."), step)
			}
			value = inner[index]
		}
	}
	found, ok := value.(node)
	if !ok {
		t.Fatalf("no %s, but %v", strings.Join(path, "."), value)
	}
	return found
}

// listOf returns the mappings of a list.
func listOf(t *testing.T, in node, key string) (all []node) {
	t.Helper()
	items, _ := in[key].([]any)
	for _, item := range items {
		element, ok := item.(node)
		if !ok {
			t.Fatalf("%s has an element that is no mapping: %v", key, item)
		}
		all = append(all, element)
	}
	if len(all) == 0 {
		t.Fatalf("no %s", key)
	}
	return all
}

// clone copies a mapping and all that is in it.
func clone(t *testing.T, in node) node {
	t.Helper()
	content, err := yaml.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out node
	if err := yaml.Unmarshal(content, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// allProxies are those whose configuration is text and those that have it made by program.
func allProxies() map[string]proxy {
	all := maps.Clone(proxies)
	maps.Copy(all, envoys)
	all["traefik"] = traefik
	return all
}

// sortedNames returns the names of some proxies, in order.
func sortedNames(of map[string]proxy) []string { return slices.Sorted(maps.Keys(of)) }
