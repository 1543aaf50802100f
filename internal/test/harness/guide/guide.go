// Package guide runs proxies with the configuration of their guides in docs/guides, of which only addresses and paths
// differ: for the demo and the benchmarks, which have one host and one upstream.
package guide

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Host is the host that the guides' files are for.
const Host = "your-nexuscommerce.com"

// VerifierName is the name for which proxies check the verifier's certificate.
const VerifierName = "apikey-verifier.apikey-system.svc.cluster.local"

// Proxy is a program that can stand in front of the API.
type Proxy struct {
	// Title is its name for people, and debian its Debian package, if make does not bring the program.
	Title, debian string
	// files are the guide's files below docs/guides. The first one is what the program is started with.
	files []string
	// around is what the program needs besides the guide, with %[1]s for a folder and %[2]s for the guide's text.
	around string
	// Args returns the program's arguments, without its name, for the configuration that Configure has written.
	Args func(config string) []string
	// KeepsReasons is false for a proxy that answers a 403 with a page of its own.
	KeepsReasons bool
	// RefusesUnderscores is set for a proxy that answers 400 to a header with an underscore in its name, where the others
	// drop the header.
	RefusesUnderscores bool
	// Objects is set for a proxy whose guide has Kubernetes objects. It finds the verifier by VerifierName.
	Objects bool
}

// Proxies are all proxies, by the names of their programs.
var Proxies = map[string]Proxy{
	"caddy": {
		Title: "Caddy", files: []string{"caddy/Caddyfile"}, KeepsReasons: true,
		around: "{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n" +
			"\tlog {\n\t\tlevel WARN\n\t}\n}\n\n%[2]s",
		Args: func(config string) []string { return []string{"run", "--config", config, "--adapter", "caddyfile"} },
	},
	"envoy": {
		Title: "Envoy", files: []string{"envoy/grpc.yaml"}, KeepsReasons: true, RefusesUnderscores: true,
		around: "%[2]s",
		Args: func(config string) []string {
			return []string{"--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c", config}
		},
	},
	"haproxy": {
		Title: "HAProxy", debian: "haproxy", files: []string{"haproxy/haproxy.cfg"}, KeepsReasons: true, around: "%[2]s",
		Args: func(config string) []string { return []string{"-db", "-q", "-f", config} },
	},
	"nginx": {
		Title: "nginx", debian: "nginx-light", files: []string{"nginx/nginx.conf"},
		around: "daemon off;\nmaster_process off;\nerror_log stderr warn;\npid %[1]s/nginx.pid;\nevents {}\nhttp {\n" +
			"\taccess_log off;\n\tclient_body_temp_path %[1]s/body;\n\tproxy_temp_path %[1]s/proxy;\n" +
			"\tfastcgi_temp_path %[1]s/fastcgi;\n\tuwsgi_temp_path %[1]s/uwsgi;\n\tscgi_temp_path %[1]s/scgi;\n%[2]s}\n",
		Args: func(config string) []string {
			return []string{"-p", filepath.Dir(config), "-e", "stderr", "-c", config}
		},
	},
	"traefik": {
		Title: "Traefik", files: []string{"traefik/static.yaml", "traefik/apikey.yaml"}, KeepsReasons: true, Objects: true,
		Args: func(config string) []string { return []string{"--configFile=" + config} },
	},
}

// Named returns a proxy by its name, or an error that lists all.
func Named(name string) (Proxy, error) {
	p, ok := Proxies[name]
	if !ok {
		return p, fmt.Errorf("no proxy %q: must be one of %s", name, strings.Join(slices.Sorted(maps.Keys(Proxies)), ", "))
	}
	return p, nil
}

// With returns the proxy with another file of its guide, below docs/guides.
func (p Proxy) With(file string) Proxy {
	p.files = []string{file}
	return p
}

// Find returns the path of a proxy's program: make brings it into a folder, or it is installed.
func (p Proxy) Find(name, tools string) (string, error) {
	if p.debian == "" {
		path := filepath.Join(tools, name)
		_, err := exec.LookPath(path)
		return path, err
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if path, err := exec.LookPath("/usr/sbin/" + name); err == nil { // Not on every account's PATH.
		return path, nil
	}
	return "", fmt.Errorf("%s is not installed: apt-get install %s", name, p.debian)
}

// Places are the addresses and files that differ from the guide's.
type Places struct {
	// Proxy is where the proxy listens; Backend, Verifier and VerifierGRPC are what it connects to; Loopback is free for
	// its own use.
	Proxy, Backend, Verifier, VerifierGRPC, Loopback string
	// Authority is the path of the certificate that the verifier's is checked against, and Guides the guides' folder.
	Authority, Guides string
}

// changes returns what is replaced in the guides' files, and by what.
func (at Places) changes() ([][2]string, error) {
	_, port, err := net.SplitHostPort(at.Proxy)
	backendHost, backendPort, backendErr := net.SplitHostPort(at.Backend)
	httpHost, httpPort, httpErr := net.SplitHostPort(at.Verifier)
	grpcHost, grpcPort, grpcErr := net.SplitHostPort(at.VerifierGRPC)
	socket := func(host, port string) string {
		return fmt.Sprintf("socket_address: {address: %s, port_value: %s}", host, port)
	}
	return [][2]string{
		{VerifierName + ":8080", at.Verifier},
		{"api.warehouse.svc.cluster.local:80", at.Backend},
		// Caddy
		{"http:// {", "http://:" + port + " {"},
		{"http://" + Host + " {", "http://" + Host + ":" + port + " {"},
		// nginx
		{"listen 80;", "listen " + at.Proxy + ";"},
		{"listen 80 default_server;", "listen " + at.Proxy + " default_server;"},
		// HAProxy
		{"bind :80\n", "bind " + at.Proxy + "\n"},
		{"127.0.0.1:9180", at.Loopback},
		{"/etc/haproxy/apikey.lua", filepath.Join(at.Guides, "haproxy", "apikey.lua")},
		// Envoy
		{socket("0.0.0.0", "8000"), socket("127.0.0.1", port)},
		{socket("api.warehouse.svc.cluster.local", "80"), socket(backendHost, backendPort)},
		{socket(VerifierName, "9090"), socket(grpcHost, grpcPort)},
		{socket(VerifierName, "8080"), socket(httpHost, httpPort)},

		{"/etc/caddy/apikey-ca.crt", at.Authority},
		{"/etc/nginx/apikey-ca.crt", at.Authority},
		{"/etc/haproxy/apikey-ca.crt", at.Authority},
		{"/etc/envoy/apikey-ca.crt", at.Authority},
	}, errors.Join(err, backendErr, httpErr, grpcErr)
}

// moved replaces the addresses of a guide's file, and the path of the authority's certificate. It fails unless the
// result has the proxy's own port, the ports of the API and the verifier, and that path.
func (at Places) moved(guide string) (string, error) {
	changes, err := at.changes()
	if err != nil {
		return "", err
	}
	for _, change := range changes {
		guide = strings.ReplaceAll(guide, change[0], change[1])
	}
	_, port, _ := net.SplitHostPort(at.Proxy)
	_, backendPort, _ := net.SplitHostPort(at.Backend)
	_, verifierPort, _ := net.SplitHostPort(at.Verifier)
	_, grpcPort, _ := net.SplitHostPort(at.VerifierGRPC)
	for _, needed := range []string{port, backendPort, at.Authority} {
		if !strings.Contains(guide, needed) {
			return "", fmt.Errorf("the guide's file has other addresses than are known here: nothing became %s", needed)
		}
	}
	if !strings.Contains(guide, verifierPort) && !strings.Contains(guide, grpcPort) {
		return "", errors.New("the guide's file has another address of the verifier than is known here")
	}
	return guide, nil
}

// Configure writes the proxy's configuration into a folder, and returns the path of the file that it starts with. That
// is the guide's own, with other addresses. If change is not nil, it gets that text, of Traefik what its file provider
// reads, and returns what is written.
func (p Proxy) Configure(dir string, at Places, change func(text string) (string, error)) (string, error) {
	if change == nil {
		change = func(text string) (string, error) { return text, nil }
	}
	texts := make([]string, len(p.files))
	for i, file := range p.files {
		content, err := os.ReadFile(filepath.Join(at.Guides, filepath.FromSlash(file)))
		if err != nil {
			return "", err
		}
		texts[i] = string(content)
	}
	config := filepath.Join(dir, filepath.Base(p.files[0]))
	if p.Objects {
		return config, writeTraefik(config, texts[0], texts[1], at, change)
	}
	text, err := at.moved(texts[0])
	if err == nil {
		text, err = change(text)
	}
	if err != nil {
		return "", err
	}
	return config, os.WriteFile(config, fmt.Appendf(nil, p.around, dir, text), 0o600)
}
