package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/guide"
)

// The service accounts of config/rbac, whose credentials the controller and the verifier get.
const (
	controllerAccount = "apikey-controller"
	verifierAccount   = "apikey-verifier"
)

// programs are the paths of what the demo runs.
type programs struct {
	controller, verifier, proxy string
}

// find returns the programs, and fails if make has not brought all of them.
func (d *demo) find() (programs, error) {
	p := programs{
		controller: filepath.Join(d.ws.bin, "apikey-controller"),
		verifier:   filepath.Join(d.ws.bin, "apikey-verifier"),
	}
	var errs []error
	for _, path := range []string{p.controller, p.verifier} {
		if _, err := exec.LookPath(path); err != nil {
			errs = append(errs, fmt.Errorf("%s is missing or can't be run: \"make demo\" and \"make run\" build it",
				d.ws.relative(path)))
		}
	}
	kind, err := guide.Named(d.proxyName)
	if err == nil {
		p.proxy, err = kind.Find(d.proxyName, filepath.Join(d.ws.bin, "tools"))
	}
	return p, errors.Join(append(errs, err)...)
}

// component is a child process, and how to tell that it is ready.
type component struct {
	name  string
	what  string // for people
	env   []string
	words []string
	ready string // a URL
	// host is what is asked for in place of the URL's own host, where it is not blank.
	host  string
	trust *tls.Config // of that URL, if it uses TLS
	// status is what the URL answers when the component is ready.
	status int
}

// addresses are free addresses for all components.
type addresses struct {
	verifier, verifierGRPC, verifierHealth, verifierMetrics, controllerHealth, controllerMetrics string
	loopback                                                                                     string // of the proxy
}

// controller returns the controller's component.
func (d *demo) controller(ctx context.Context, at addresses) (component, error) {
	config, err := d.cluster.serviceAccountKubeconfig(ctx, controllerAccount)
	return component{
		name: "controller",
		what: "the controller, as the service account " +
			controllerAccount + ": mints, publishes, and signs the verifier's certificate",
		words: []string{d.programs.controller, "--kubeconfig=" + config, "--self-signed-certificates",
			"--metrics-bind-address=" + at.controllerMetrics, "--health-probe-bind-address=" + at.controllerHealth},
		ready:  "http://" + at.controllerHealth + "/readyz",
		status: http.StatusOK,
	}, err
}

// verifier returns the verifier's component, which serves TLS.
func (d *demo) verifier(ctx context.Context, at addresses, files mounted) (component, error) {
	config, err := d.cluster.serviceAccountKubeconfig(ctx, verifierAccount)
	return component{
		name: "verifier",
		what: "the verifier, as the service account " + verifierAccount + ": decides",
		words: []string{d.programs.verifier, "--kubeconfig=" + config,
			"--tls-cert-file=" + files.certificate, "--tls-private-key-file=" + files.key, "--caller-audiences=apikey-verifier",
			"--http-bind-address=" + at.verifier, "--grpc-bind-address=" + at.verifierGRPC, "--trusted-proxies=127.0.0.1/32",
			"--metrics-bind-address=" + at.verifierMetrics, "--health-probe-bind-address=" + at.verifierHealth},
		ready: "https://" + at.verifierHealth + "/readyz",
		trust: files.trust, status: http.StatusOK,
	}, err
}

// frontProxy returns the component of the proxy in front of the upstream. It is ready when it refuses a request without
// credentials, as the verifier has told it to.
func (d *demo) frontProxy(at addresses, files mounted) (component, error) {
	kind := guide.Proxies[d.proxyName]
	dir := filepath.Join(d.ws.tmp, d.proxyName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return component{}, err
	}
	config, err := kind.Configure(dir, guide.Places{
		Proxy: d.proxy, Backend: d.upstream.address, Verifier: at.verifier, VerifierGRPC: at.verifierGRPC,
		Loopback: at.loopback, Authority: files.authority, Guides: filepath.Join(d.ws.root, "docs", "guides"),
	}, nil)
	if err != nil {
		return component{}, err
	}
	c := component{
		name: d.proxyName,
		what: fmt.Sprintf("%s at http://%s: asks the verifier about each request to the API behind it, over TLS",
			kind.Title, d.proxy),
		words:  append([]string{d.programs.proxy}, kind.Args(config)...),
		ready:  "http://" + d.proxy + "/api/products",
		host:   sampleHost,
		status: http.StatusUnauthorized,
	}
	if kind.Objects {
		t, err := startTunnel(guide.VerifierName+":8080", at.verifier)
		if err != nil {
			return component{}, err
		}
		d.onClose(t.close)
		c.env = []string{"HTTPS_PROXY=http://" + t.address}
	}
	return c, nil
}

// startComponents starts the controller and, once it has signed a certificate, the others, and waits until each is
// ready.
func (d *demo) startComponents(ctx context.Context) error {
	d.say.step("Start the controller, the verifier and a proxy")
	var err error
	if d.upstream, err = startUpstream(); err != nil {
		return err
	}
	d.onClose(d.upstream.close)
	d.onClose(func() error { return stopProcesses(d.processes) })
	// People type the first of these, and make run is started again and again, so its port is always the same.
	free, err := freeAddresses(8000, 0, 0, 0, 0, 0, 0, 0)
	if err != nil {
		return err
	}
	d.proxy = free[0]
	at := addresses{free[1], free[2], free[3], free[4], free[5], free[6], free[7]}
	controller, err := d.controller(ctx, at)
	if err != nil {
		return err
	}
	if err := d.launch(ctx, controller); err != nil {
		return err
	}
	files, err := d.cluster.mount(ctx)
	if err != nil {
		return err
	}
	verifier, err := d.verifier(ctx, at, files)
	if err != nil {
		return err
	}
	front, err := d.frontProxy(at, files)
	if err != nil {
		return err
	}
	return d.launch(ctx, verifier, front)
}

// launch starts components, and waits until each is ready.
func (d *demo) launch(ctx context.Context, components ...component) error {
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

// awaitReady polls until the component reports that it is ready.
func (c component) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("the %s was not ready within a minute", c.name))
	defer cancel()
	client := &http.Client{
		Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: c.trust},
	}
	for last := ""; ; {
		readiness, err := http.NewRequestWithContext(ctx, http.MethodGet, c.ready, http.NoBody)
		if err != nil {
			return err
		}
		readiness.Host = c.host // If it is blank, the URL's is used.
		response, err := client.Do(readiness)
		if err != nil {
			last = err.Error()
		} else {
			_ = response.Body.Close()
			if last = response.Status; response.StatusCode == c.status {
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
