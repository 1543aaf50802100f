package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// nginxAround is the configuration around the guide's.
const nginxAround = `daemon off;
master_process off;
worker_processes 1;
error_log stderr crit;
pid %[1]s/nginx.pid;
events {}
http {
	access_log off;
	keepalive_requests 1000000;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s;
	uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
%[2]s
}
`

// behindNginx measures the processor time of a request in nginx and in the server that nginx asks, with the guide's
// configuration.
func behindNginx(ctx context.Context, bed *testbed) error {
	dir, own, none, err := bed.pair(ctx)
	if err != nil {
		return err
	}
	api, err := bed.serve(ctx, "none") // It is behind both, and not measured.
	if err != nil {
		return err
	}
	who := wrkClients{file: filepath.Join(dir, "clients"), passes: true}
	if err := draw(who.file, bed.times(servedKeys), servedKeys, itself); err != nil {
		return err
	}
	var behind [2]*contender
	for i, backend := range []*process{none, own} {
		nginx, err := bed.nginx(ctx, filepath.Join(dir, fmt.Sprintf("nginx-%d", i)), backend.address, api.address)
		if err != nil {
			return err
		}
		behind[i] = &contender{measure: func() (samples, error) {
			perRequest, err := cost(func() (answers, error) {
				return bed.overHTTP(ctx, "http://"+nginx.address+"/api/products", who, httpConnections)
			}, nginx, backend)
			return samples{perRequest}, err
		}}
	}
	if err := alternate(bed.times(loadRounds), behind[:]...); err != nil {
		return err
	}
	behind[1].beside(bed.results, behind[0], 0, "nginx: CPU of a request, nginx and verifier, by nginx and net/http", 1.05)
	return nil
}

// nginx starts nginx with the guide's configuration, changed to these addresses.
func (bed *testbed) nginx(ctx context.Context, dir, decider, api string) (*process, error) {
	guide, err := os.ReadFile(controlplane.Root() + "/docs/guides/nginx/nginx.conf")
	if err != nil {
		return nil, err
	}
	p := &process{started: time.Now()}
	if p.address, err = program.Address(ctx); err != nil {
		return nil, err
	}
	configuration := string(guide)
	for from, to := range map[string]string{
		"listen 80;": "listen " + p.address + ";", "listen 80 default_server;": "listen " + p.address + " default_server;",
		"server api.warehouse.svc.cluster.local:80;":                   "server " + api + ";",
		"server apikey-verifier.apikey-system.svc.cluster.local:8080;": "server " + decider + ";",
		// TLS would be most of what is measured, with either server.
		"https://apikey-verifier/": "http://apikey-verifier/", "proxy_ssl_trusted_certificate /etc/nginx/apikey-ca.crt;": "",
	} {
		if !strings.Contains(configuration, from) {
			return nil, fmt.Errorf("the guide's nginx.conf has no %q", from)
		}
		configuration = strings.ReplaceAll(configuration, from, to)
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxAround, dir, configuration), 0o600); err != nil {
		return nil, err
	}
	if p.command, err = on(ctx, serverCore, "nginx", "-p", dir, "-c", file); err != nil {
		return nil, err
	}
	p.command.Stderr = &p.log
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	bed.running = append(bed.running, p)
	return p, until(ctx, 5*time.Millisecond, func() bool {
		status, _, err := get(ctx, "http://"+p.address+"/")
		return err == nil && status != 0
	})
}
