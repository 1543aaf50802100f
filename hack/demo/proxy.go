package main

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

// proxy is a program that can stand in front of the API.
type proxy struct {
	// title is its name for people, and debian the package that has it where make does not bring it.
	title, debian string
	// files are the guide's files below docs/guides. The first one is what the program is started with.
	files []string
	// around is what the demo needs of the program besides the guide, with %[1]s for a folder and %[2]s for the guide's
	// text.
	around string
	// args are the arguments, without the program.
	args func(config string) []string
	// keepsReasons is false for a proxy that answers a 403 with a page of its own.
	keepsReasons bool
	// refusesUnderscores is set for a proxy that answers 400 to a header with an underscore in its name, where the others
	// drop the header.
	refusesUnderscores bool
	// objects is set for a proxy whose guide has Kubernetes objects.
	objects bool
}

const defaultProxy = "caddy"

// proxies are what make demo PROXY= and make run PROXY= take.
var proxies = map[string]proxy{
	"caddy": {
		title: "Caddy", files: []string{"caddy/Caddyfile"}, keepsReasons: true,
		around: "{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n" +
			"\tlog {\n\t\tlevel WARN\n\t}\n}\n\n%[2]s",
		args: func(config string) []string { return []string{"run", "--config", config, "--adapter", "caddyfile"} },
	},
	"envoy": {
		title: "Envoy", files: []string{"envoy/grpc.yaml"}, keepsReasons: true, refusesUnderscores: true,
		around: "%[2]s",
		args: func(config string) []string {
			return []string{"--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c", config}
		},
	},
	"haproxy": {
		title: "HAProxy", debian: "haproxy", files: []string{"haproxy/haproxy.cfg"}, keepsReasons: true, around: "%[2]s",
		args: func(config string) []string { return []string{"-db", "-q", "-f", config} },
	},
	"nginx": {
		title: "nginx", debian: "nginx-light", files: []string{"nginx/nginx.conf"},
		around: "daemon off;\nmaster_process off;\nerror_log stderr warn;\npid %[1]s/nginx.pid;\nevents {}\nhttp {\n" +
			"\taccess_log off;\n\tclient_body_temp_path %[1]s/body;\n\tproxy_temp_path %[1]s/proxy;\n" +
			"\tfastcgi_temp_path %[1]s/fastcgi;\n\tuwsgi_temp_path %[1]s/uwsgi;\n\tscgi_temp_path %[1]s/scgi;\n%[2]s}\n",
		args: func(config string) []string {
			return []string{"-p", filepath.Dir(config), "-e", "stderr", "-c", config}
		},
	},
	"traefik": {
		title: "Traefik", files: []string{"traefik/static.yaml", "traefik/apikey.yaml"}, keepsReasons: true, objects: true,
		args: func(config string) []string { return []string{"--configFile=" + config} },
	},
}

// proxyNamed returns a proxy by its name, or an error that lists all.
func proxyNamed(name string) (proxy, error) {
	p, ok := proxies[name]
	if !ok {
		return p, fmt.Errorf("--proxy=%s: must be one of %s", name,
			strings.Join(slices.Sorted(maps.Keys(proxies)), ", "))
	}
	return p, nil
}

// find returns the path of a proxy's program: make brings it into a folder, or it is installed.
func (p proxy) find(name, tools string) (string, error) {
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

// places are the addresses and files that differ from the guide's.
type places struct {
	// proxy is where the proxy listens; backend, verifier and verifierGRPC are what it connects to; loopback is free for
	// its own use.
	proxy, backend, verifier, verifierGRPC, loopback string
	// authority is the path of the certificate that the verifier's is checked against, and guides the guides' folder.
	authority, guides string
}

// changes are what is replaced in the guides' files. All that a file has of the left are replaced.
func (at places) changes() ([][2]string, error) {
	_, port, err := net.SplitHostPort(at.proxy)
	backendHost, backendPort, backendErr := net.SplitHostPort(at.backend)
	grpcHost, grpcPort, grpcErr := net.SplitHostPort(at.verifierGRPC)
	socket := func(host, port string) string {
		return fmt.Sprintf("socket_address: {address: %s, port_value: %s}", host, port)
	}
	return [][2]string{
		{verifierName + ":8080", at.verifier},
		{"api.warehouse.svc.cluster.local:80", at.backend},
		// Caddy
		{"http:// {", "http://:" + port + " {"},
		{"http://" + sampleHost + " {", "http://" + sampleHost + ":" + port + " {"},
		// nginx
		{"listen 80;", "listen " + at.proxy + ";"},
		{"listen 80 default_server;", "listen " + at.proxy + " default_server;"},
		// HAProxy
		{"bind :80\n", "bind " + at.proxy + "\n"},
		{"127.0.0.1:9180", at.loopback},
		{"/etc/haproxy/apikey.lua", filepath.Join(at.guides, "haproxy", "apikey.lua")},
		// Envoy
		{socket("0.0.0.0", "8000"), socket("127.0.0.1", port)},
		{socket("api.warehouse.svc.cluster.local", "80"), socket(backendHost, backendPort)},
		{socket(verifierName, "9090"), socket(grpcHost, grpcPort)},

		{"/etc/caddy/apikey-ca.crt", at.authority},
		{"/etc/nginx/apikey-ca.crt", at.authority},
		{"/etc/haproxy/apikey-ca.crt", at.authority},
		{"/etc/envoy/apikey-ca.crt", at.authority},
	}, errors.Join(err, backendErr, grpcErr)
}

// moved replaces the guide's addresses with the demo's, and its authority file with the verifier's. It fails unless it
// has replaced what the proxy listens on, both that it connects to, and the file.
func (at places) moved(guide string) (string, error) {
	changes, err := at.changes()
	if err != nil {
		return "", err
	}
	for _, change := range changes {
		guide = strings.ReplaceAll(guide, change[0], change[1])
	}
	_, port, _ := net.SplitHostPort(at.proxy)
	_, backendPort, _ := net.SplitHostPort(at.backend)
	_, verifierPort, _ := net.SplitHostPort(at.verifier)
	_, grpcPort, _ := net.SplitHostPort(at.verifierGRPC)
	for _, needed := range []string{port, backendPort, at.authority} {
		if !strings.Contains(guide, needed) {
			return "", fmt.Errorf("the guide's file has other addresses than the demo knows: nothing became %s", needed)
		}
	}
	if !strings.Contains(guide, verifierPort) && !strings.Contains(guide, grpcPort) {
		return "", errors.New("the guide's file has another address of the verifier than the demo knows")
	}
	return guide, nil
}

// configure writes the proxy's configuration, and returns the path of the file that it is started with. It is the
// guide's own, with other addresses, so the demo shows what the guide recommends.
func (p proxy) configure(dir string, at places) (string, error) {
	texts := make([]string, len(p.files))
	for i, file := range p.files {
		content, err := os.ReadFile(filepath.Join(at.guides, filepath.FromSlash(file)))
		if err != nil {
			return "", err
		}
		texts[i] = string(content)
	}
	config := filepath.Join(dir, filepath.Base(p.files[0]))
	if p.objects {
		return config, writeTraefik(config, texts[0], texts[1], at)
	}
	text, err := at.moved(texts[0])
	if err != nil {
		return "", err
	}
	return config, os.WriteFile(config, fmt.Appendf(nil, p.around, dir, text), 0o600)
}
