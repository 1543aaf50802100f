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
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// outage is how long requests may fail because a verifier is frozen.
const outage = 3 * time.Second

// virtualAddress is a Service's: whoever connects to it gets one of its endpoints, and stays with that one.
type virtualAddress struct {
	address string

	mu        sync.Mutex
	endpoints []string
	next      int
	// chosen counts the connections by endpoint.
	chosen map[string]int
}

func newVirtualAddress(t *testing.T, endpoints ...string) *virtualAddress {
	t.Helper()
	v := &virtualAddress{endpoints: endpoints, chosen: map[string]int{}}
	v.address = startRelay(t, func(ctx context.Context, _ net.Conn) (net.Conn, error) {
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

// leave takes an endpoint out. Connections to it go on.
func (v *virtualAddress) leave(endpoint string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.endpoints = slices.DeleteFunc(v.endpoints, func(e string) bool { return e == endpoint })
}

// load is a client that asks at a steady rate, and notes what fails.
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

const loadRate = 100 // a second

// startLoad asks until it is stopped.
func startLoad(t *testing.T, f *front) (l *load, stop func()) {
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
				all.Go(func() { l.ask(t, web, f) })
			}
		}
	})
	return l, func() {
		cancel()
		all.Wait()
		transport.CloseIdleConnections()
	}
}

func (l *load) ask(t *testing.T, web *http.Client, f *front) {
	ctx := context.WithoutCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.address+"/api/products", http.NoBody)
	if err != nil {
		t.Error(err)
		return
	}
	request.Host = "api.example.com"
	request.Header.Set("Authorization", "Bearer "+f.values["token"])
	request.Header.Set("X-Tenant-ID", acme)
	began, what := time.Now(), ""
	if response, err := web.Do(request); err != nil {
		what = err.Error()
	} else {
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			what = response.Status
		}
	}
	if what == "" {
		l.passed.Add(1)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, failure{began: began, ended: time.Now(), what: what})
}

// take returns what has failed since the last call.
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

// TestReplicas has three verifiers behind each way in which Envoy asks: behind one address, as a Service has it, and
// each by its own. All three are used. One that is killed costs no request; one that is frozen costs requests for no
// longer than three seconds.
func TestReplicas(t *testing.T) {
	b := newTestbed(t)
	for _, name := range []string{"envoy-grpc", "envoy-http"} {
		for _, kind := range []string{"behind one address", "each by its own address"} {
			t.Run(name+", "+kind, func(t *testing.T) { testReplicas(t, b, name, kind == "behind one address") })
		}
	}
}

func testReplicas(t *testing.T, b *testbed, name string, oneAddress bool) {
	t.Helper()
	all := []*install.Verifier{b.Verifier}
	for len(all) < 3 {
		options := b.options
		options.Name, options.Addresses = fmt.Sprintf("verifier-%d", len(all)+1), install.Addresses{}
		all = append(all, b.StartVerifier(t, options))
	}
	asked := func(v *install.Verifier) string {
		return map[string]string{"envoy-grpc": v.GRPC, "envoy-http": v.HTTP}[name]
	}
	ways := make([]*virtualAddress, 0, len(all))
	if oneAddress {
		ways = append(ways, newVirtualAddress(t, asked(all[0]), asked(all[1]), asked(all[2])))
	} else {
		for _, r := range all {
			ways = append(ways, newVirtualAddress(t, asked(r)))
		}
	}
	f := &front{testbed: b, upstream: startUpstream(t), judge: newJudge()}
	at, _ := startEnvoyWith(t, envoys[name], b, f.upstream, func(config node) {
		cluster := listOf(t, mappingAt(t, config, "static_resources"), "clusters")
		locality := mappingAt(t, cluster[len(cluster)-1], "load_assignment", "endpoints", "0")
		one, several := listOf(t, locality, "lb_endpoints")[0], []any{}
		for _, way := range ways {
			endpoint := clone(t, one)
			setAddress(t, mappingAt(t, endpoint, "endpoint"), "address", way.address)
			several = append(several, endpoint)
		}
		locality["lb_endpoints"] = several
	})
	f.address = at.http1
	f.eventuallyPasses(t)
	l, stop := startLoad(t, f)
	defer stop()
	l.pass(t, 10*loadRate)
	for _, r := range all {
		used := 0
		for _, way := range ways {
			way.mu.Lock()
			used += way.chosen[asked(r)]
			way.mu.Unlock()
		}
		if used == 0 {
			t.Errorf("a verifier is not asked: %s", asked(r))
		}
	}
	if failed := l.take(); len(failed) > 0 {
		t.Errorf("with three verifiers %d requests failed, the first: %+v", len(failed), failed[0])
	}

	leave := func(r *install.Verifier) {
		if oneAddress {
			ways[0].leave(asked(r))
		}
	}
	leave(all[1])
	all[1].Kill()
	l.pass(t, 3*loadRate)
	if failed := l.take(); len(failed) > 0 {
		t.Errorf("a verifier was killed, and %d requests failed, the first: %+v", len(failed), failed[0])
	}

	frozen := time.Now()
	leave(all[2])
	all[2].Signal(syscall.SIGSTOP)
	l.pass(t, 6*loadRate)
	stop()
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
