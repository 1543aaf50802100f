package conformance_test

import (
	"os/exec"
	"regexp"
	"slices"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// setUp is a column of the table.
type setUp struct {
	// name is its name in internal/test/harness/proxies, and title its heading in the table.
	name, title string
	// program prints its version if it has the argument. A gateway's version is that of the Go module that it was built
	// from.
	program, argument, module string
	// balanced is the same behind a load balancer, as its page says.
	balanced balanced
	// trusting is set if anyone who connects from an address within --trusted-proxies chooses the address that an
	// allowlist sees, as its page says in a box.
	trusting bool
	// watching is set where the proxy ends connections that do not answer: it may refuse before the time is over that it
	// waits for an answer.
	watching bool
	// calls are the edits of its guide's configuration for an API that speaks gRPC. They are nil if that isn't tested.
	calls [][2]string
	// limited are the edits for a limit of three requests a minute for each key, which the proxy itself enforces.
	limited [][2]string
	// mutants are its configurations without one of their protections.
	mutants []mutant
}

// balanced is a set-up behind a load balancer.
type balanced struct {
	// edits are those of its guide's configuration. There are none if the proxy can't be told the client's address.
	edits [][2]string
	// protocol is set if the load balancer tells the address by the PROXY protocol, and not by X-Forwarded-For.
	protocol bool
	// believing is set if the proxy trusts every peer, so that nobody but the load balancer may connect.
	believing bool
}

// mutant is a guide's configuration without a protection, and the question whose row must notice it.
type mutant struct {
	without  [2]string
	question string
}

var setUps = []setUp{
	{
		name: "nginx", title: "[nginx](nginx.md)", program: "nginx", argument: "-v",
		balanced: balanced{edits: behindForNginx},
		calls:    nginxCalls,
		mutants: []mutant{
			{[2]string{`proxy_set_header Authorization "";`, ""}, tokenQuestion},
			{[2]string{"auth_request /_apikey;", ""}, stoppedQuestion},
			{[2]string{"proxy_buffer_size 16k;", ""}, largestQuestion},
		},
	},
	{
		name: "ingress-nginx", title: "[ingress-nginx](ingress-nginx.md)", program: "nginx", argument: "-v",
		balanced: balanced{edits: behindForNginx},
		mutants: []mutant{
			{[2]string{"proxy_set_header X-Api-Key-Tenant $auth_x_api_key_tenant;", ""}, forgedQuestion},
			{[2]string{" 16k;", " 4k;"}, largestQuestion},
		},
	},
	{
		name: "nginx-gateway-fabric", title: "[NGINX Gateway Fabric](nginx-gateway-fabric.md)", program: "nginx",
		argument: "-v",
		mutants: []mutant{
			{[2]string{"proxy_set_header X-Api-Key-Tenant $auth_x_api_key_tenant;", ""}, forgedQuestion},
			{[2]string{" 16k;", " 4k;"}, largestQuestion},
		},
	},
	{
		name: "caddy", title: "[Caddy](caddy.md)", program: "caddy", argument: "version",
		balanced: balanced{edits: [][2]string{
			{"\t\turi /auth/forward?\n", "\t\ttrusted_proxies " + balancer + "/32\n\t\turi /auth/forward?\n"},
		}},
		calls:   [][2]string{{"reverse_proxy api.warehouse", "reverse_proxy h2c://api.warehouse"}},
		mutants: []mutant{{[2]string{"X-Api-Key-Scopes X-Api-Key-Tenant\n", "X-Api-Key-Scopes\n"}, forgedQuestion}},
	},
	{
		name: "haproxy", title: "[HAProxy](haproxy.md)", program: "haproxy", argument: "-v",
		balanced: balanced{protocol: true, edits: [][2]string{
			{"\tbind :80\n", "\tbind :80\n\ttcp-request connection expect-proxy layer4 if { src " + balancer + " }\n"},
		}},
		calls: [][2]string{
			{"server api api.warehouse.svc.cluster.local:80", "server api api.warehouse.svc.cluster.local:80 proto h2"},
		},
		limited: limitedForHAProxy,
		mutants: []mutant{{[2]string{"http-request del-header _ -m sub", ""}, aliasQuestion}},
	},
	{
		name: "haproxy-ingress", title: "[HAProxy Ingress](haproxy-ingress.md)", program: "haproxy", argument: "-v",
		limited: limitedForHAProxy,
		mutants: []mutant{{[2]string{"http-request del-header Authorization", ""}, tokenQuestion}},
	},
	{
		name: "traefik", title: "[Traefik](traefik.md)", program: "traefik", argument: "version",
		balanced: balanced{protocol: true, edits: [][2]string{{
			"    address: \":443\"\n",
			"    address: \":443\"\n    proxyProtocol: {trustedIPs: [" + balancer + "/32]}\n",
		}}},
		calls:   [][2]string{{"    - name: api\n      port: 80\n", "    - name: api\n      port: 80\n      scheme: h2c\n"}},
		limited: limitedForTraefik,
		mutants: []mutant{{[2]string{"    - X-Api-Key-Tenant\n", ""}, forgedQuestion}},
	},
	{
		name: "envoy-grpc", title: "[Envoy](envoy.md), gRPC", program: "envoy", argument: "--version",
		balanced: envoyBalanced, calls: envoyCalls, limited: limitedForEnvoy,
		mutants: []mutant{{[2]string{"failure_mode_allow: false", "failure_mode_allow: true"}, stoppedQuestion}},
	},
	{
		name: "envoy-grpc-joined-headers", title: "Envoy, gRPC, without `encode_raw_headers`", program: "envoy",
		argument: "--version", balanced: envoyBalanced, calls: envoyCalls, limited: limitedForEnvoy,
		mutants: []mutant{{[2]string{"failure_mode_allow: false", "failure_mode_allow: true"}, stoppedQuestion}},
	},
	{
		name: "envoy-http", title: "[Envoy](envoy.md#over-http), HTTP", program: "envoy", argument: "--version",
		balanced: envoyBalanced, calls: envoyCalls, limited: limitedForEnvoy,
		mutants: []mutant{
			{[2]string{"                    - {exact: x-api-key-tenant, ignore_case: true}\n", ""}, forgedQuestion},
		},
	},
}

// behindForNginx makes nginx read the client's address from a load balancer's header.
var behindForNginx = [][2]string{{
	"\tserver_name your-nexuscommerce.com;\n",
	"\tserver_name your-nexuscommerce.com;\n\tset_real_ip_from " + balancer + ";\n\treal_ip_header X-Forwarded-For;\n",
}}

// nginxCalls makes nginx speak gRPC to the API, and still HTTP to the verifier.
var nginxCalls = [][2]string{
	{"proxy_pass http://api;", "grpc_pass grpc://api;"},
	{"proxy_set_header", "grpc_set_header"},
	{"grpc_set_header Content-Length    \"\"", "proxy_set_header Content-Length    \"\""},
	{"grpc_set_header Transfer-Encoding \"\"", "proxy_set_header Transfer-Encoding \"\""},
	{"grpc_set_header Connection        \"\"", "proxy_set_header Connection        \"\""},
	{"grpc_set_header X-Original-URL    $scheme", "proxy_set_header X-Original-URL    $scheme"},
	{"grpc_set_header X-Original-Method $request", "proxy_set_header X-Original-Method $request"},
	{"grpc_set_header X-Forwarded-For   $remote_addr;\n\t\tproxy_connect_timeout",
		"proxy_set_header X-Forwarded-For   $remote_addr;\n\t\tproxy_connect_timeout"},
}

// envoyBalanced makes Envoy read the client's address from a load balancer's header.
var envoyBalanced = balanced{believing: true, edits: [][2]string{{
	`          early_header_mutation_extensions:
          - name: envoy.http.early_header_mutation.header_mutation
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation
              mutations:
              - remove: x-forwarded-for
`, "          xff_num_trusted_hops: 1\n",
}}}

// envoyCalls makes Envoy speak HTTP/2 to the API.
var envoyCalls = [][2]string{{
	"  - name: api\n    type: STRICT_DNS\n", `  - name: api
    type: STRICT_DNS
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
`,
}}

// versionNumber matches a version that a program prints. Its first two parts are what a program's behaviour depends on.
var versionNumber = regexp.MustCompile(`(\d+\.\d+)\.\d+`)

// version returns the version of the set-up's program.
func (u setUp) version(t *testing.T) string {
	t.Helper()
	binary := need.Program(t, u.program)
	said := ""
	if u.isGateway() {
		said = builtFrom(t, binary, u.module)
	} else {
		out, err := exec.CommandContext(t.Context(), binary, u.argument).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		said = string(out)
	}
	found := versionNumber.FindStringSubmatch(said)
	if found == nil {
		t.Fatalf("%s prints no version:\n%s", u.program, said)
	}
	return found[1]
}

// proxy returns the proxy that is started.
func (u setUp) proxy() proxies.Proxy {
	if u.isGateway() {
		return proxies.Gateways[u.name]
	}
	return proxies.All()[u.name]
}

// guide returns the path of its page.
func (u setUp) guide() string { return "docs/guides/" + u.proxy().Guide + ".md" }

// columns returns all set-ups, in the order of the table.
func columns() []setUp { return slices.Concat(setUps, gateways) }

// TestEverySetUpIsAsked checks that each set-up that there is has a column and a mutant.
func TestEverySetUpIsAsked(t *testing.T) {
	asked := map[string]bool{}
	for _, u := range columns() {
		asked[u.name] = len(u.mutants) > 0
	}
	for _, name := range slices.Concat(proxies.Names(proxies.All()), proxies.Names(proxies.Gateways)) {
		if !asked[name] {
			t.Errorf("%s has no column, or no mutant", name)
		}
	}
}
