package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"
)

// The service accounts of config/rbac, whose credentials the controller and the verifier get.
const (
	controllerAccount = "apikey-controller"
	verifierAccount   = "apikey-verifier"
)

// programs are the paths of what the demo runs.
type programs struct {
	controller, verifier, caddy string
}

// findPrograms fails where make has not built what the demo needs.
func findPrograms(ws *workspace) (programs, error) {
	p := programs{
		controller: filepath.Join(ws.bin, "apikey-controller"),
		verifier:   filepath.Join(ws.bin, "apikey-verifier"),
		caddy:      filepath.Join(ws.bin, "tools", "caddy"),
	}
	var errs []error
	for _, path := range []string{p.controller, p.verifier, p.caddy} {
		if _, err := exec.LookPath(path); err != nil {
			errs = append(errs, fmt.Errorf("%s is missing or can't be run: \"make demo\" and \"make run\" build it", ws.relative(path)))
		}
	}
	return p, errors.Join(errs...)
}

// component is a child and how to see that it is ready.
type component struct {
	name  string
	what  string // for people
	env   []string
	words []string
	ready string // a URL that answers 200; any answer will do for a component without a probe of its own
	probe bool
}

// components are the controller, the verifier and the proxy in front of the upstream, on free addresses.
func (d *demo) components(ctx context.Context, upstream string) ([]component, error) {
	// A person types the first of these; make run is meant to be come back to, so it is the same each time.
	addresses, err := freeAddresses(8000, 0, 0, 0, 0, 0, 0)
	if err != nil {
		return nil, err
	}
	d.proxy = addresses[0]
	auth, verifierHealth, verifierMetrics := addresses[1], addresses[2], addresses[3]
	controllerHealth, controllerMetrics := addresses[4], addresses[5]
	authGRPC := addresses[6]
	proxyConfig, err := d.proxyConfig(auth, upstream)
	if err != nil {
		return nil, err
	}
	controllerConfig, err := d.cluster.serviceAccountKubeconfig(ctx, controllerAccount)
	if err != nil {
		return nil, err
	}
	verifierConfig, err := d.cluster.serviceAccountKubeconfig(ctx, verifierAccount)
	if err != nil {
		return nil, err
	}
	return []component{{
		name: "controller",
		what: "the controller, as the service account " + controllerAccount + ": mints and publishes",
		words: []string{d.programs.controller, "--kubeconfig=" + controllerConfig,
			"--metrics-bind-address=" + controllerMetrics, "--health-probe-bind-address=" + controllerHealth},
		ready: "http://" + controllerHealth + "/readyz",
		probe: true,
	}, {
		name: "verifier",
		what: "the verifier, as the service account " + verifierAccount + ": decides",
		words: []string{d.programs.verifier, "--kubeconfig=" + verifierConfig,
			"--http-bind-address=" + auth, "--grpc-bind-address=" + authGRPC, "--insecure-plain-text", "--trusted-proxies=127.0.0.1/32",
			"--metrics-bind-address=" + verifierMetrics, "--health-probe-bind-address=" + verifierHealth},
		ready: "http://" + verifierHealth + "/readyz",
		probe: true,
	}, {
		name:  "caddy",
		what:  "Caddy at http://" + d.proxy + ": asks the verifier about each request to the API behind it",
		words: []string{d.programs.caddy, "run", "--config", proxyConfig, "--adapter", "caddyfile"},
		ready: "http://" + d.proxy + "/",
	}}, nil
}

// startComponents starts all of them and waits until each is ready.
func (d *demo) startComponents(ctx context.Context) error {
	d.say.step("Start the controller, the verifier and a proxy")
	var err error
	if d.upstream, err = startUpstream(); err != nil {
		return err
	}
	d.onClose(d.upstream.close)
	d.onClose(func() error { return stopProcesses(d.processes) })
	components, err := d.components(ctx, d.upstream.address)
	if err != nil {
		return err
	}
	for _, c := range components {
		p, err := startProcess(d.ws.log(c.name), d.ws.childEnv(c.env...), c.words, d.cancel)
		if err != nil {
			return err
		}
		d.processes = append(d.processes, p)
	}
	for _, c := range components {
		if err := c.awaitReady(ctx); err != nil {
			return err
		}
		d.say.line("%s", c.what)
	}
	return nil
}

// awaitReady asks until the component says that it is ready.
func (c component) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("the %s was not ready within a minute", c.name))
	defer cancel()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for last := ""; ; {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.ready, http.NoBody)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			last = err.Error()
		} else {
			_ = response.Body.Close()
			if last = response.Status; !c.probe || response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last answer of %s: %s", context.Cause(ctx), c.ready, last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
