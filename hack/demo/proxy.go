package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// proxyOptions restricts Caddy to loopback and to this process.
const proxyOptions = `{
	admin off
	persist_config off
	auto_https off
	default_bind 127.0.0.1
	log {
		level WARN
	}
}

`

// proxyConfig writes Caddy's configuration and returns its path. It is the guide's own, docs/guides/caddy/Caddyfile,
// with other addresses, so the demo shows what the guide recommends.
func (d *demo) proxyConfig(verifier, backend, authority string) (string, error) {
	guide, err := os.ReadFile(filepath.Join(d.ws.root, "docs", "guides", "caddy", "Caddyfile"))
	if err != nil {
		return "", err
	}
	config, err := moved(string(guide), d.proxy, verifier, backend, authority)
	if err != nil {
		return "", err
	}
	path := filepath.Join(d.ws.tmp, "Caddyfile")
	return path, os.WriteFile(path, []byte(proxyOptions+config), 0o600)
}

// moved replaces the guide's addresses with the demo's, and its authority file with the verifier's.
func moved(guide, proxy, verifier, backend, authority string) (string, error) {
	_, port, err := net.SplitHostPort(proxy)
	if err != nil {
		return "", err
	}
	for _, change := range [][2]string{
		{"http:// {", "http://:" + port + " {"},
		{"http://" + sampleHost + " {", "http://" + sampleHost + ":" + port + " {"},
		{"apikey-verifier.apikey-system.svc.cluster.local:8080", verifier},
		{"api.warehouse.svc.cluster.local:80", backend},
		{"/etc/caddy/apikey-ca.crt", authority},
	} {
		if strings.Count(guide, change[0]) != 1 {
			return "", fmt.Errorf("the guide's Caddyfile has no %q, or has it more than once", change[0])
		}
		guide = strings.Replace(guide, change[0], change[1], 1)
	}
	return guide, nil
}
