package bypass_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/override"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// proxy is a real one, set up as its guide says.
type proxy struct {
	// guide is the folder of its configuration in docs/guides, and file the configuration.
	guide, file string
	// program is its name.
	program string
	// made, where the configuration isn't the guide's own, returns what a controller makes of the guide's objects.
	made func(t *testing.T) string
	// only are what the ids of its cases begin with, where not all are for it.
	only []string
	// unchecked is set where the proxy can't check the verifier's certificate, as its guide says.
	unchecked bool
	// onlyProducts and hidesClient are as for a target.
	onlyProducts, hidesClient bool
	// around is what the guide's file is put into: %[1]s is a folder, %[2]s the file, or with text its content.
	around string
	// sites turns the guide's configuration, which is for one host, into one for all sites.
	sites func(t *testing.T, text string, up *upstream) string
	args  func(config, dir string) []string
	// started, where it is there, starts the proxy instead of all that.
	started func(t *testing.T, p proxy, b *testbed, up *upstream) (listening, *program.Process)
}

var proxies = map[string]proxy{
	"nginx": runsNginx(proxy{guide: "nginx", file: "nginx.conf"}),
	"ingress-nginx": runsNginx(proxy{guide: "ingress-nginx", made: ingressNginx, only: aboutHosts,
		unchecked: true}),
	"nginx-gateway-fabric": runsNginx(proxy{guide: "nginx-gateway-fabric", made: nginxGatewayFabric, only: aboutHosts,
		hidesClient: true}),
	"haproxy": {
		guide: "haproxy", file: "haproxy.cfg",
		program: "haproxy",
		around:  "%[2]s",
		sites:   haproxySites,
		args:    func(config, _ string) []string { return []string{"-db", "-q", "-f", config} },
	},
	"haproxy-ingress": {
		guide: "haproxy-ingress", file: "haproxy.cfg",
		onlyProducts: true, hidesClient: true,
		program: "haproxy",
		around:  "%[2]s",
		sites:   haproxyIngressSites,
		args:    func(config, _ string) []string { return []string{"-db", "-q", "-f", config} },
	},
	"caddy": {
		guide: "caddy", file: "Caddyfile",
		program: "caddy",
		around: "{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n" +
			"\tservers {\n\t\tprotocols h1 h2c\n\t}\n\tlog {\n\t\tlevel ERROR\n\t}\n}\n%[2]s",
		sites: caddySites,
		args:  func(config, _ string) []string { return []string{"run", "--adapter", "caddyfile", "--config", config} },
	},
}

// keepsUnderscores returns a Caddy that lets headers with underscores pass, as earlier versions do. This version drops
// them by itself, which would hide whether the guide's own line works.
func keepsUnderscores(p proxy) proxy {
	var names []string
	for _, name := range override.Names() {
		if strings.Contains(name, "-") {
			names = append(names, strings.ReplaceAll(name, "-", "_"))
		}
	}
	p.around = strings.Replace(p.around, "\t\tprotocols ",
		"\t\texpected_underscore_headers "+strings.Join(names, " ")+"\n\t\tprotocols ", 1)
	p.only = []string{"override-"}
	return p
}

// runsNginx completes a proxy whose program is nginx.
func runsNginx(p proxy) proxy {
	p.program = "nginx"
	p.around = "daemon off;\nmaster_process off;\nerror_log stderr crit;\npid %[1]s/nginx.pid;\n" +
		"events {}\nhttp {\n\taccess_log off;\n" +
		"\tclient_body_temp_path %[1]s/body;\n\tproxy_temp_path %[1]s/proxy;\n\tfastcgi_temp_path %[1]s/fastcgi;\n" +
		"\tuwsgi_temp_path %[1]s/uwsgi;\n\tscgi_temp_path %[1]s/scgi;\n%[2]s}\n"
	p.sites = nginxSites
	p.args = func(config, dir string) []string { return []string{"-p", dir, "-e", "stderr", "-c", config} }
	return p
}

// folder is that of the proxy in /etc.
func (p proxy) folder() string {
	name, _, _ := strings.Cut(p.guide, "-")
	return name
}

// listening is where a proxy can be reached.
type listening struct {
	http1 string
	// http2 speaks HTTP/2 by prior knowledge, RFC 9113 section 3.3. It is blank where the proxy isn't set up for it.
	http2 string
}

// start starts a proxy in front of the upstreams, and returns where it listens and its process. Where its program is
// missing the test is skipped.
func (p proxy) start(t *testing.T, b *testbed, up *upstream) (listening, *program.Process) {
	t.Helper()
	if p.started != nil {
		return p.started(t, p, b, up)
	}
	binary := need.Program(t, p.program)
	if p.made == nil {
		p.made = func(t *testing.T) string { return readGuide(t, p.guide, p.file) }
	}
	address := program.FreeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	at := listening{http1: address, http2: address} // Caddy and HAProxy tell the two apart.
	if !strings.HasPrefix(p.guide, "haproxy") && p.guide != "caddy" {
		at.http2 = program.FreeAddress(t)
	}
	loopback := program.FreeAddress(t)
	for loopback == at.http1 || loopback == at.http2 { // HAProxy would take it for both.
		loopback = program.FreeAddress(t)
	}
	text := p.sites(t, p.made(t), up)
	replaced := 0
	for _, change := range [][2]string{
		{"apikey-verifier.apikey-system.svc.cluster.local:8080", b.Verifier.HTTP},
		{"listen 80;", "listen " + address + "; listen " + at.http2 + " http2;"},
		{"listen 80 default_server;", "listen " + address + " default_server; listen " + at.http2 + " http2 default_server;"},
		{"bind :80\n", "bind " + address + "\n"}, {":80 ", ":" + port + " "}, {":80,", ":" + port + ","},
		{"/etc/" + p.folder() + "/apikey-ca.crt", b.authority.File}, {"127.0.0.1:9180", loopback},
		{"/etc/haproxy/apikey.lua", filepath.Join(controlplane.Root(), "docs", "guides", "haproxy", "apikey.lua")},
	} {
		replaced += strings.Count(text, change[0])
		text = strings.ReplaceAll(text, change[0], change[1])
	}
	if replaced < 2 || strings.Contains(text, b.authority.File) == p.unchecked {
		t.Fatalf("%s has other addresses than this test knows", p.guide)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, fmt.Appendf(nil, p.around, dir, text), 0o600); err != nil {
		t.Fatal(err)
	}
	process := program.Start(t, binary, p.args(config, dir)...)
	waitUntilListening(t, p.guide, process, address)
	return at, process
}

// waitUntilListening waits until a proxy can be connected to.
func waitUntilListening(t *testing.T, name string, process *program.Process, address string) {
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

// fence follows each case on its connection: nobody needs a key for it, and its answer ends the connection. A case that
// can't be told from what follows swallows it.
const (
	fenceTarget = "/public/fence"
	fence       = "GET " + fenceTarget + " HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"
)

// lingering is how long a proxy may take to close a connection after it has said that it will.
const lingering = 20 * time.Millisecond

// send sends what a client says to a proxy, waits until the proxy has closed the connection or the time is over, and
// returns the status of the first answer, or 0.
func send(ctx context.Context, address string, raw []byte, wait time.Duration) (int, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientAddress)}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return 0, err
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = conn.Write(append(slices.Clip(raw), fence...)) // The proxy may have closed long before the end.
	}()
	in := bufio.NewReader(conn)
	status := 0
	for {
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			break
		}
		if status == 0 {
			status = response.StatusCode
		}
		if response.Close { // Envoy says so, and then waits a second for its client to close.
			_ = conn.SetDeadline(time.Now().Add(min(wait, lingering)))
		}
		_, _ = io.Copy(io.Discard, response.Body)
	}
	_, _ = io.Copy(io.Discard, in)
	conn.Close()
	<-written
	return status, errors.Join(ctx.Err())
}
