package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/guide"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const (
	// proxyRounds alternate between the ways of deciding about a proxy's requests.
	proxyRounds = 5
	// builtinKeys is how many keys a proxy's own way of checking has, and how many clients there are: as many as
	// somebody might still write into a proxy's configuration.
	builtinKeys = 1000
	// frontStart is how long a proxy may take to start.
	frontStart = 30 * time.Second
)

// front is a proxy and how its guide's configuration is changed to be measured.
type front struct {
	// name is for people, and program a key of guide.Proxies.
	name, program string
	// file is another file of the guide's than the first, or blank.
	file string
	// plain removes TLS to the authorizer: it would be most of what is measured, with either authorizer.
	plain func(text string, at guide.Places) (string, error)
	// without removes the question to the authorizer.
	without func(text string) (string, error)
	// builtin replaces the question by the proxy's own way of checking keys, which builtinName names. Not every proxy has
	// one.
	builtin     func(text string, keys []subject) (string, error)
	builtinName string
	// scheme is that of the credentials which builtin checks, and credential makes them of a key: a key's own if blank.
	scheme     string
	credential func(subject) subject
}

// behindProxies measures, for each proxy, what a request costs when the verifier decides about it: beside an authorizer
// that does nothing, without any, and beside the proxy's own way of checking keys.
func behindProxies(ctx context.Context, bed *testbed) error {
	var errs []error
	for _, f := range fronts {
		if err := bed.behind(ctx, f); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
		}
	}
	return errors.Join(errs...)
}

// behind measures one proxy, and leaves nothing of it running.
func (bed *testbed) behind(ctx context.Context, f front) (err error) {
	kept := len(bed.running)
	defer func() {
		for len(bed.running) > kept {
			err = errors.Join(err, bed.stop(bed.running[len(bed.running)-1]))
		}
	}()
	dir, own, err := bed.verifierOf(ctx, f)
	if err != nil {
		return err
	}
	none, err := bed.serve(ctx, "none", "identity")
	if err != nil {
		return err
	}
	api, err := bed.serve(ctx, "none") // It is behind all, and not measured.
	if err != nil {
		return err
	}
	who := wrkClients{file: filepath.Join(dir, "clients"), passes: true}
	if err := draw(who.file, builtinKeys, builtinKeys, itself); err != nil {
		return err
	}
	ways := map[string]*process{"verifier": own, "nothing": none, "without": nil}
	if f.builtin != nil {
		ways["builtin"] = nil
	}
	load, pace := map[string]*contender{}, map[string]*contender{}
	for way, authorizer := range ways {
		p, err := bed.startFront(ctx, f, filepath.Join(dir, way), way, authorizer, api)
		if err != nil {
			return fmt.Errorf("%s: %w", way, err)
		}
		clients, err := f.clients(who, way)
		if err != nil {
			return err
		}
		load[way], pace[way] = bed.through(ctx, p, authorizer, clients)
	}
	if err := alternate(bed.times(proxyRounds), inOrder(load)...); err != nil {
		return err
	}
	if err := alternate(bed.times(proxyRounds), inOrder(pace)...); err != nil {
		return err
	}
	f.report(bed.results, load, pace)
	return nil
}

// report adds a proxy's figures.
func (f front) report(results *resultList, load, pace map[string]*contender) {
	load["verifier"].beside(results, load["nothing"], 0,
		"proxies: "+f.name+": CPU of a request, proxy and verifier, by an authorizer that does nothing", 1.05)
	name := "proxies: " + f.name + ": CPU of a request, proxy and verifier, by "
	load["verifier"].stated(results, load["without"], 0, name+"no authorization")
	if f.builtin != nil {
		load["verifier"].stated(results, load["builtin"], 0, name+f.builtinName)
	}
	for i, quantile := range []string{"p50", "p99"} {
		pace["verifier"].stated(results, pace["nothing"], i,
			"proxies: "+f.name+": "+quantile+" at 1,000 requests/s, by an authorizer that does nothing")
	}
}

// stated adds a figure like beside, without a goal.
func (c *contender) stated(results *resultList, other *contender, i int, name string) {
	results.add(inTurns(name, "µs", "stated", c.seen[i], other.seen[i], func(samples) verdict { return met }))
}

// clients returns the clients of a way of deciding: all have the same keys.
func (f front) clients(who wrkClients, way string) (wrkClients, error) {
	if way != "builtin" || f.credential == nil {
		return who, nil
	}
	who.file, who.scheme = who.file+"-"+f.scheme, f.scheme
	return who, draw(who.file, builtinKeys, builtinKeys, f.credential)
}

// verifierOf starts a verifier, and returns a folder for a proxy's files.
func (bed *testbed) verifierOf(ctx context.Context, f front) (dir string, own *process, err error) {
	all, err := bed.scratch()
	if err != nil {
		return "", nil, err
	}
	if dir, err = os.MkdirTemp(all, f.program+"-"); err != nil {
		return "", nil, err
	}
	own, err = bed.serve(ctx, "verifier", strconv.Itoa(servedKeys))
	return dir, own, err
}

// through returns contenders for the processor time of a request, of the proxy and its authorizer, and for its latency.
func (bed *testbed) through(ctx context.Context, p, authorizer *process, who wrkClients) (load, pace *contender) {
	url := "http://" + p.address + "/api/products"
	measured := []*process{p}
	if authorizer != nil {
		measured = append(measured, authorizer)
	}
	load = &contender{measure: func() (samples, error) {
		perRequest, err := cost(func() (answers, error) {
			return bed.overHTTP(ctx, url, who, httpConnections)
		}, measured...)
		return samples{perRequest}, err
	}}
	pace = &contender{measure: func() (samples, error) {
		a, err := bed.overHTTP(ctx, url, who, pacedConnections, pacedRest)
		return samples{a.P50, a.P99}, err
	}}
	return load, pace
}

// startFront starts a proxy with the guide's configuration, changed for one way of deciding.
func (bed *testbed) startFront(
	ctx context.Context, f front, dir, way string, authorizer, api *process,
) (*process, error) {
	kind := guide.Proxies[f.program]
	binary, err := kind.Find(f.program, filepath.Join(bed.bin, "tools"))
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	p := &process{started: time.Now()}
	if p.address, err = program.Address(ctx); err != nil {
		return nil, err
	}
	at := guide.Places{
		Proxy: p.address, Backend: api.address, Verifier: "127.0.0.1:9", VerifierGRPC: "127.0.0.1:9", // Nobody listens there.
		Authority: "/nowhere/ca.crt", Guides: filepath.Join(controlplane.Root(), "docs", "guides"),
	}
	if authorizer != nil {
		at.Verifier, at.VerifierGRPC = authorizer.address, authorizer.grpc
	}
	if at.Loopback, err = program.Address(ctx); err != nil {
		return nil, err
	}
	if f.file != "" {
		kind = kind.With(f.file)
	}
	config, err := kind.Configure(dir, at, func(text string) (string, error) {
		text, err := f.plain(text, at)
		if err != nil || authorizer != nil {
			return text, err
		}
		if way == "builtin" {
			keys := make([]subject, builtinKeys)
			for i := range keys {
				keys[i] = syntheticKey(i)
			}
			return f.builtin(text, keys)
		}
		return f.without(text)
	})
	if err != nil {
		return nil, err
	}
	if p.command, err = on(ctx, serverCore, binary, kind.Args(config)...); err != nil {
		return nil, err
	}
	p.command.Stdout, p.command.Stderr = &p.log, &p.log
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	bed.running = append(bed.running, p)
	// One that has refused its configuration never answers. What it says comes from stop.
	starting, cancel := context.WithTimeoutCause(ctx, frontStart, fmt.Errorf("does not answer within %s", frontStart))
	defer cancel()
	return p, until(starting, 5*time.Millisecond, func() bool {
		return routes(starting, "http://"+p.address+"/api/products")
	})
}

// routes reports whether a proxy knows where requests for the guide's host go. Traefik listens before it does, and
// answers 404; the others may not reach what they ask yet. Without credentials, anything else is a decision.
func routes(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	request.Host = guide.Host
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode != http.StatusNotFound && response.StatusCode < http.StatusInternalServerError
}

func inOrder(of map[string]*contender) (all []*contender) {
	for _, way := range []string{"verifier", "nothing", "without", "builtin"} {
		if c := of[way]; c != nil {
			all = append(all, c)
		}
	}
	return all
}

// replaced replaces texts of a configuration, each of which must be there.
func replaced(text string, changes ...string) (string, error) {
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			return "", fmt.Errorf("the guide's configuration has no %q", changes[i])
		}
		text = strings.ReplaceAll(text, changes[i], changes[i+1])
	}
	return text, nil
}
