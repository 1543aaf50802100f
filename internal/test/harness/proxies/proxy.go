// Package proxies starts real proxies with the configurations of docs/guides, in front of an upstream that remembers
// exactly what has reached it.
//
//	          ┌───────┐  as docs/guides  ┌──────────┐
//	client ──▶│ proxy ├─────────────────▶│ upstream │ one address for each site
//	          └───┬───┘                  └──────────┘
//	              ▼
//	          a verifier, or what stands in for one
//
// A guide's file is for one host. Here it serves all sites, each with hosts and an upstream of its own, at the
// addresses of the test. Nothing else differs, except for edits that a test requests.
package proxies

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// Proxy is a real proxy, configured as its guide says.
type Proxy struct {
	// Guide is the folder of its configuration in docs/guides, and File is the configuration.
	Guide, File string
	// Program is the name of its program for need.Program.
	Program string
	// Generated is set if a controller makes the configuration of the guide's objects. The version of the program that
	// runs here is not the controller's.
	Generated bool
	// Unchecked is set if the proxy can't check the verifier's certificate, as its guide says.
	Unchecked bool
	// OnlyProducts is set if it is configured for GET /api/products alone.
	OnlyProducts bool
	// HidesClient is set if the verifier doesn't learn the client's address, so that keys with allowedCIDRs are refused.
	HidesClient bool
	// DeniesBy is the status by which it refuses without an answer, where that is not 5xx.
	DeniesBy int
	// Bounded is set where 100 headers are too many, as the guide says.
	Bounded bool
	// Edits are made to the guide's configuration, each from the first text to the second.
	Edits [][2]string

	// made returns the configuration that a controller makes of the guide's objects, if Generated is set.
	made func(t testing.TB) string
	// around is a format for the whole configuration: %[1]s is a folder, %[2]s the guide's file.
	around string
	// sites turns the guide's configuration for one host into one for all sites.
	sites func(t testing.TB, text string, up *Upstream) string
	args  func(config, dir string) []string
	// started, if not nil, starts the proxy instead.
	started func(t testing.TB, p Proxy, e Environment, up *Upstream) (Listening, *program.Process)
}

// Environment is what a proxy needs around it.
type Environment struct {
	// Verifier is where proxies ask, and Authority signed the certificate of the server there.
	Verifier  install.Addresses
	Authority *authority.Authority
	// Plane returns a control plane, for proxies that read the guide's objects from one.
	Plane func(t testing.TB) *controlplane.ControlPlane
}

// timeout limits the wait for what must happen. It is long enough for a busy machine.
const timeout = time.Minute

// Text are the proxies whose configuration is text.
var Text = map[string]Proxy{
	"nginx": runsNginx(Proxy{Guide: "nginx", File: "nginx.conf"}),
	"ingress-nginx": runsNginx(Proxy{
		Guide: "ingress-nginx", Generated: true, made: ingressNginx, Unchecked: true,
	}),
	"nginx-gateway-fabric": runsNginx(Proxy{
		Guide: "nginx-gateway-fabric", Generated: true, made: nginxGatewayFabric, HidesClient: true,
	}),
	"haproxy": {
		Guide: "haproxy", File: "haproxy.cfg",
		Program: "haproxy",
		around:  "%[2]s",
		sites:   haproxySites,
		args:    func(config, _ string) []string { return []string{"-db", "-q", "-f", config} },
	},
	"haproxy-ingress": {
		Guide: "haproxy-ingress", File: "haproxy.cfg",
		OnlyProducts: true, HidesClient: true,
		Program: "haproxy",
		around:  "%[2]s",
		sites:   haproxyIngressSites,
		args:    func(config, _ string) []string { return []string{"-db", "-q", "-f", config} },
	},
	"caddy": {
		Guide: "caddy", File: "Caddyfile",
		Program: "caddy",
		around: "{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n" +
			"\tservers {\n\t\tprotocols h1 h2c\n\t}\n\tlog {\n\t\tlevel ERROR\n\t}\n}\n%[2]s",
		sites: caddySites,
		args:  func(config, _ string) []string { return []string{"run", "--adapter", "caddyfile", "--config", config} },
	},
}

// With returns the proxy with edits of its guide's configuration, each from the first text to the second.
func (p Proxy) With(edits ...[2]string) Proxy {
	p.Edits = slices.Concat(p.Edits, edits)
	return p
}

// edit makes the edits to the texts of a configuration. Each must be possible in one of them.
func (p Proxy) edit(t testing.TB, texts ...*string) {
	t.Helper()
	for _, edit := range p.Edits {
		found := false
		for _, text := range texts {
			found = found || strings.Contains(*text, edit[0])
			*text = strings.ReplaceAll(*text, edit[0], edit[1])
		}
		if !found {
			t.Fatalf("the configuration of %s has no %q", p.Guide, edit[0])
		}
	}
}

// KeepsUnderscores returns a Caddy that lets headers with these names pass, as earlier versions do. This version drops
// headers with underscores, which would hide whether the guide's own line works.
func KeepsUnderscores(names ...string) Proxy {
	p := Text["caddy"]
	p.around = strings.Replace(p.around, "\t\tprotocols ",
		"\t\texpected_underscore_headers "+strings.Join(names, " ")+"\n\t\tprotocols ", 1)
	return p
}

// TrustsItsClients returns a Caddy behind another proxy, whose X-Forwarded-Host it believes (trusted_proxies).
func TrustsItsClients() Proxy {
	p := Text["caddy"]
	p.around = strings.Replace(p.around, "\t\tprotocols ", "\t\ttrusted_proxies static 127.0.0.0/8\n\t\tprotocols ", 1)
	return p
}

// runsNginx adds the settings of a proxy whose program is nginx.
func runsNginx(p Proxy) Proxy {
	p.Program = "nginx"
	p.around = "daemon off;\nmaster_process off;\nerror_log stderr crit;\npid %[1]s/nginx.pid;\n" +
		"events {}\nhttp {\n\taccess_log off;\n" +
		"\tclient_body_temp_path %[1]s/body;\n\tproxy_temp_path %[1]s/proxy;\n\tfastcgi_temp_path %[1]s/fastcgi;\n" +
		"\tuwsgi_temp_path %[1]s/uwsgi;\n\tscgi_temp_path %[1]s/scgi;\n%[2]s}\n"
	p.sites = nginxSites
	p.args = func(config, dir string) []string { return []string{"-p", dir, "-e", "stderr", "-c", config} }
	return p
}

// folder returns the folder of the proxy in /etc.
func (p Proxy) folder() string {
	name, _, _ := strings.Cut(p.Guide, "-")
	return name
}

// Listening is where a proxy can be reached.
type Listening struct {
	HTTP1 string
	// HTTP2 is the address for HTTP/2 by prior knowledge, RFC 9113 section 3.3. It is blank if the proxy isn't configured
	// for it.
	HTTP2 string
	// Named, where the proxy is reached over TLS, returns an address at which a name stands in each handshake.
	Named func(t testing.TB, protocol, serverName string) string
	// Plain, where the proxy is reached over TLS, is where it listens without.
	Plain string
}

// Start starts a proxy in front of the upstreams, and returns where it listens and its process. It skips the test if
// the proxy's program is missing.
func (p Proxy) Start(t testing.TB, e Environment, up *Upstream) (Listening, *program.Process) {
	t.Helper()
	if p.started != nil {
		return p.started(t, p, e, up)
	}
	binary := need.Program(t, p.Program)
	if p.made == nil {
		p.made = func(t testing.TB) string { return readGuide(t, p.Guide, p.File) }
	}
	address := program.FreeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	at := Listening{HTTP1: address, HTTP2: address} // Caddy and HAProxy distinguish the two.
	if !strings.HasPrefix(p.Guide, "haproxy") && p.Guide != "caddy" {
		at.HTTP2 = program.FreeAddress(t)
	}
	loopback := program.FreeAddress(t)
	for loopback == at.HTTP1 || loopback == at.HTTP2 { // HAProxy would use it for both.
		loopback = program.FreeAddress(t)
	}
	text := p.made(t)
	p.edit(t, &text)
	text = p.sites(t, text, up)
	replaced := 0
	for _, change := range [][2]string{
		{"apikey-verifier.apikey-system.svc.cluster.local:8080", e.Verifier.HTTP},
		{"listen 80;", "listen " + address + "; listen " + at.HTTP2 + " http2;"},
		{"listen 80 default_server;", "listen " + address + " default_server; listen " + at.HTTP2 + " http2 default_server;"},
		{"bind :80\n", "bind " + address + "\n"}, {":80 ", ":" + port + " "}, {":80,", ":" + port + ","},
		{"/etc/" + p.folder() + "/apikey-ca.crt", e.Authority.File}, {"127.0.0.1:9180", loopback},
		{"/etc/haproxy/apikey.lua", filepath.Join(controlplane.Root(), "docs", "guides", "haproxy", "apikey.lua")},
	} {
		replaced += strings.Count(text, change[0])
		text = strings.ReplaceAll(text, change[0], change[1])
	}
	if replaced < 2 || strings.Contains(text, e.Authority.File) == p.Unchecked {
		t.Fatalf("%s has other addresses than this test knows", p.Guide)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, fmt.Appendf(nil, p.around, dir, text), 0o600); err != nil {
		t.Fatal(err)
	}
	process := program.Start(t, binary, p.args(config, dir)...)
	waitUntilListening(t, p.Guide, process, address)
	return at, process
}

// waitUntilListening waits until a proxy accepts connections.
func waitUntilListening(t testing.TB, name string, process *program.Process, address string) {
	t.Helper()
	program.WaitUntil(t, timeout, "a "+name+" that listens", func() error {
		select {
		case <-process.Exited():
			t.Fatalf("%s has ended:\n%s", name, process.Log())
		default:
		}
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// All returns the proxies whose configuration is text, and those whose configuration a program makes.
func All() map[string]Proxy {
	all := maps.Clone(Text)
	maps.Copy(all, Envoys)
	all["traefik"] = traefik
	return all
}

// Names returns the names of proxies in order.
func Names(of map[string]Proxy) []string { return slices.Sorted(maps.Keys(of)) }
