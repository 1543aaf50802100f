package bypass_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// outage is how long requests may fail because a verifier is frozen.
const outage = 3 * time.Second

// virtualAddress behaves like a Service: a client that connects to it gets one of its endpoints, and keeps that one.
type virtualAddress struct {
	address string

	mu        sync.Mutex
	endpoints []string
	next      int
	// chosen counts the connections by endpoint. latest is the number of the latest connection to each.
	chosen map[string]int
}

func newVirtualAddress(t *testing.T, endpoints ...string) *virtualAddress {
	t.Helper()
	v := &virtualAddress{endpoints: endpoints, chosen: map[string]int{}}
	v.address = proxies.StartRelay(t, func(ctx context.Context, _ net.Conn) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", v.choose())
	})
	return v
}

func (v *virtualAddress) choose() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next++
	endpoint := v.endpoints[v.next%len(v.endpoints)]
	v.chosen[endpoint]++
	return endpoint
}

// connections returns how many connections there were to an endpoint.
func (v *virtualAddress) connections(endpoint string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.chosen[endpoint]
}

// leave removes an endpoint. Its connections stay open.
func (v *virtualAddress) leave(endpoint string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.endpoints = slices.DeleteFunc(v.endpoints, func(e string) bool { return e == endpoint })
}

// load is a client that sends requests at a steady rate, and records those that fail. With each request it sends
// another one to a proxy whose verifiers are left alone. If that one doesn't pass at once, the machine is too slow, and
// neither counts.
type load struct {
	passed atomic.Int64

	mu sync.Mutex
	// failed are the requests that didn't pass.
	failed []failure
}

type failure struct {
	began, ended time.Time
	what         string
}

const (
	loadRate = 50 // a second
	// atOnce is the longest time that a request takes if nothing delays it.
	atOnce = 250 * time.Millisecond
)

// startLoad sends requests until it is stopped.
func startLoad(t *testing.T, f, control *front) (l *load, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l = &load{}
	transport := &http.Transport{MaxIdleConnsPerHost: 1000}
	web := &http.Client{Transport: transport, Timeout: timeout}
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(time.Second / loadRate)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				all.Go(func() { l.ask(t, web, f, control) })
			}
		}
	})
	return l, func() {
		cancel()
		all.Wait()
		transport.CloseIdleConnections()
	}
}

// ask sends both requests, and counts the first unless the second shows that the machine is too slow.
func (l *load) ask(t *testing.T, web *http.Client, f, control *front) {
	var tried failure
	var asked sync.WaitGroup
	asked.Go(func() { tried = f.try(t, web) })
	other := control.try(t, web)
	asked.Wait()
	switch {
	case other.what != "" || other.ended.Sub(other.began) > atOnce:
	case tried.what == "":
		l.passed.Add(1)
	default:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.failed = append(l.failed, tried)
	}
}

// try sends a request that may pass, and returns what went wrong, or "" if it passed.
func (f *front) try(t *testing.T, web *http.Client) failure {
	began, ctx := time.Now(), context.WithoutCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.address+"/api/products", http.NoBody)
	if err != nil {
		return failure{began: began, ended: began, what: err.Error()}
	}
	request.Host = "api.example.com"
	request.Header.Set("Authorization", "Bearer "+f.values["token"])
	request.Header.Set("X-Tenant-ID", acme)
	response, err := web.Do(request)
	if err != nil {
		return failure{began: began, ended: time.Now(), what: err.Error()}
	}
	_, _ = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	tried := failure{began: began, ended: time.Now()}
	if response.StatusCode != http.StatusOK {
		tried.what = response.Status
	}
	return tried
}

// take returns the requests that have failed since the last call.
func (l *load) take() []failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	failed := l.failed
	l.failed = nil
	return failed
}

// pass waits until some more requests have passed.
func (l *load) pass(t *testing.T, more int64) {
	t.Helper()
	wanted := l.passed.Load() + more
	program.WaitUntil(t, timeout, "requests that pass", func() error {
		if passed := l.passed.Load(); passed < wanted {
			return fmt.Errorf("%d of %d", passed, wanted)
		}
		return nil
	})
}

// TestReplicas puts three verifiers behind each way in which Envoy asks: behind one address, like a Service, and behind
// an address each. Envoy uses all three. If one is killed, no request fails; if one is frozen, requests fail for at
// most three seconds.
func TestReplicas(t *testing.T) {
	b := newTestbed(t)
	for name, address := range map[string]func(*install.Verifier) string{
		"envoy-grpc": func(v *install.Verifier) string { return v.GRPC },
		"envoy-http": func(v *install.Verifier) string { return v.HTTP },
	} {
		for kind, one := range map[string]bool{"behind one address": true, "each by its own address": false} {
			t.Run(name+", "+kind, func(t *testing.T) {
				g := startReplicas(t, b, address, one)
				start := func(change func(config proxies.Node)) *front {
					f := &front{testbed: b, upstream: proxies.StartUpstream(t), oracle: newOracle()}
					at, _ := proxies.StartEnvoyWith(t, proxies.Envoys[name], b.environment(), f.upstream, change)
					f.address = at.HTTP1
					f.eventuallyPasses(t)
					return f
				}
				l, stop := startLoad(t, start(func(config proxies.Node) { g.ask(t, config) }), start(func(proxies.Node) {}))
				defer stop()
				g.areUsed(t, l)
				g.oneIsKilled(t, l)
				g.oneIsFrozen(t, l)
			})
		}
	}
}

// TestReplicasOfAGateway puts three verifiers behind Envoy Gateway, whose Envoy knows each by its own address, and
// checks the same as TestReplicas.
func TestReplicasOfAGateway(t *testing.T) {
	need.Program(t, "envoy-gateway")
	b := newTestbed(t)
	g := startReplicas(t, b, func(v *install.Verifier) string { return v.GRPC }, false)
	var addresses []string
	for _, way := range g.ways {
		addresses = append(addresses, way.address)
	}
	f := &front{testbed: b, upstream: proxies.StartUpstream(t), oracle: newOracle()}
	at, _ := proxies.StartEnvoyGatewayWith(t, proxies.Gateways["envoy-gateway"], b.environment(), f.upstream, addresses...)
	f.address = at.HTTP1
	f.eventuallyPasses(t)
	control := &front{testbed: b, upstream: proxies.StartUpstream(t), oracle: newOracle()}
	at, _ = proxies.Envoys["envoy-grpc"].Start(t, b.environment(), control.upstream)
	control.address = at.HTTP1
	control.eventuallyPasses(t)
	l, stop := startLoad(t, f, control)
	defer stop()
	g.areUsed(t, l)
	g.oneIsKilled(t, l)
	g.oneIsFrozen(t, l)
}

// replicas are verifiers, and the addresses by which a proxy asks them.
type replicas struct {
	all     []*install.Verifier
	address func(*install.Verifier) string
	ways    []*virtualAddress
	// one is set if all are behind one address.
	one bool
}

// startReplicas starts three more verifiers, and puts them behind one address or behind an address each. The testbed's
// own verifier is the one that is left alone.
func startReplicas(t *testing.T, b *testbed, address func(*install.Verifier) string, one bool) *replicas {
	t.Helper()
	g := &replicas{all: []*install.Verifier{b.Verifier}, address: address, one: one}
	for len(g.all) < 3 {
		options := b.options
		options.Name, options.Addresses = fmt.Sprintf("verifier-%d", len(g.all)+1), install.Addresses{}
		g.all = append(g.all, b.StartVerifier(t, options))
	}
	if one {
		g.ways = append(g.ways, newVirtualAddress(t, address(g.all[0]), address(g.all[1]), address(g.all[2])))
		return g
	}
	for _, v := range g.all {
		g.ways = append(g.ways, newVirtualAddress(t, address(v)))
	}
	return g
}

// ask makes these verifiers the endpoints of the last cluster in Envoy's configuration.
func (g *replicas) ask(t *testing.T, config proxies.Node) {
	t.Helper()
	clusters := proxies.List(t, proxies.At(t, config, "static_resources"), "clusters")
	locality := proxies.At(t, clusters[len(clusters)-1], "load_assignment", "endpoints", "0")
	template, endpoints := proxies.List(t, locality, "lb_endpoints")[0], []any{}
	for _, way := range g.ways {
		endpoint := proxies.Clone(t, template)
		proxies.SetAddress(t, proxies.At(t, endpoint, "endpoint"), "address", way.address)
		endpoints = append(endpoints, endpoint)
	}
	locality["lb_endpoints"] = endpoints
}

// leaves removes a verifier from the Service, if there is one. Its connections stay open.
func (g *replicas) leaves(v *install.Verifier) {
	if g.one {
		g.ways[0].leave(g.address(v))
	}
}

// areUsed checks that there is a connection to each verifier, and that no request fails.
func (g *replicas) areUsed(t *testing.T, l *load) {
	t.Helper()
	l.pass(t, 10*loadRate)
	for _, v := range g.all {
		used := 0
		for _, way := range g.ways {
			used += way.connections(g.address(v))
		}
		if used == 0 {
			t.Errorf("a verifier is not asked: %s", g.address(v))
		}
	}
	if failed := l.take(); len(failed) > 0 {
		t.Errorf("with three verifiers %d requests failed, the first: %+v", len(failed), failed[0])
	}
}

// oneIsKilled checks that no request fails.
func (g *replicas) oneIsKilled(t *testing.T, l *load) {
	t.Helper()
	g.leaves(g.all[1])
	g.all[1].Kill()
	l.pass(t, 3*loadRate)
	if failed := l.take(); len(failed) > 0 {
		t.Errorf("a verifier was killed, and %d requests failed, the first: %+v", len(failed), failed[0])
	}
}

// oneIsFrozen checks that requests fail neither longer nor later than an outage may last.
func (g *replicas) oneIsFrozen(t *testing.T, l *load) {
	t.Helper()
	frozen := time.Now()
	g.leaves(g.all[2])
	g.all[2].Signal(syscall.SIGSTOP)
	l.pass(t, 6*loadRate)
	longest, last := time.Duration(0), time.Duration(0)
	failed := l.take()
	for _, f := range failed {
		longest, last = max(longest, f.ended.Sub(f.began)), max(last, f.ended.Sub(frozen))
	}
	t.Logf("a verifier was frozen: %d requests failed, until %v after it; the longest took %v", len(failed), last, longest)
	if last > outage || longest > outage {
		t.Errorf("requests fail for too long: %+v", failed[len(failed)-1])
	}
}
