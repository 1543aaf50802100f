package bypass_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// TestVerifierLeaves stops the verifier by a signal, and then kills another, with traffic through each proxy. A
// verifier that is stopped reports that it isn't ready before it refuses connections, and nothing passes without a
// verifier. Nothing that a verifier would have refused ever reaches the upstream, and requests pass again once there is
// a verifier.
func TestVerifierLeaves(t *testing.T) {
	b := newTestbed(t)
	all := t // The verifier outlives the subtest that starts it.
	var harmless [][]byte
	for _, c := range readCorpus(t, "harmless.txt", b.values) {
		harmless = append(harmless, c.raw)
	}
	for _, name := range slices.Concat([]string{"nginx", "haproxy", "caddy", "traefik"}, proxies.Names(proxies.Envoys),
		proxies.Names(proxies.Gateways)) {
		t.Run(name, func(t *testing.T) {
			f := &front{testbed: b, upstream: proxies.StartUpstream(t), oracle: newOracle()}
			at, _ := allProxies()[name].Start(t, b.environment(), f.upstream)
			f.address = at.HTTP1
			f.eventuallyPasses(t)

			stop := f.traffic(t)
			if code := f.terminate(t); code != 0 {
				t.Errorf("the verifier ends with %d:\n%s", code, b.Verifier.Log())
			}
			stop()
			f.passesNothing(t, harmless)

			b.restartVerifier(all)
			f.eventuallyPasses(t)
			stop = f.traffic(t)
			b.Verifier.Kill()
			stop()
			f.passesNothing(t, harmless)

			b.restartVerifier(all)
			f.eventuallyPasses(t)
			f.check(t)
		})
	}
}

// front is a proxy in front of an upstream.
type front struct {
	*testbed

	address  string
	upstream *proxies.Upstream
	oracle   *oracle
}

// check checks the requests that have reached the upstream, and returns how many there were.
func (f *front) check(t *testing.T) int {
	t.Helper()
	seen := f.upstream.Take()
	for _, r := range seen {
		if fault := f.oracle.fault(r); fault != "" {
			t.Errorf("%.300q reaches the upstream: %s", redact(r.Head), fault)
		}
	}
	return len(seen)
}

// request returns a request with a token, by the name of its placeholder.
func (f *front) request(token string) []byte {
	return []byte("GET /api/products HTTP/1.1\r\nHost: api.example.com\r\nX-Tenant-ID: " + acme +
		"\r\nAuthorization: Bearer " + f.values[token] + "\r\n\r\n")
}

func (f *front) eventuallyPasses(t *testing.T) {
	t.Helper()
	program.WaitUntil(t, timeout, "a request that passes", func() error {
		status, err := send(t.Context(), f.address, f.request("token"), timeout)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
}

// traffic sends requests until it is stopped, with a key that works and with one that is revoked. It returns once some
// of them have passed.
func (f *front) traffic(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for _, token := range []string{"token", "revoked", "token", "revoked"} {
		clients.Go(func() {
			for ctx.Err() == nil {
				status, err := send(ctx, f.address, f.request(token), timeout)
				if err == nil && token == "revoked" && status == http.StatusOK {
					t.Error("a request with a revoked key passes")
				}
			}
		})
	}
	f.upstream.Take()
	program.WaitUntil(t, timeout, "traffic", func() error {
		if n := f.upstream.Len(); n < 20 {
			return fmt.Errorf("%d requests so far", n)
		}
		return nil
	})
	return func() {
		t.Helper()
		cancel()
		clients.Wait()
		f.check(t)
	}
}

// terminate stops the verifier by a signal, and returns its exit code.
func (f *front) terminate(t *testing.T) int {
	t.Helper()
	verifier, code := f.Verifier, make(chan int, 1)
	go func() { code <- verifier.Terminate(timeout) }()
	ready := verifier.Ready(t)
	program.WaitUntil(t, timeout, "a verifier that is not ready", func() error {
		// The order matters: a verifier that refuses connections must not report afterwards that it is ready.
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", verifier.HTTP)
		if err == nil {
			conn.Close()
		}
		if ready() == nil {
			if err != nil {
				t.Errorf("it reports that it is ready, and can't be asked: %v", err)
			}
			return errors.New("it reports that it is ready")
		}
		return nil
	})
	return <-code
}

// passesNothing checks that without a verifier the proxy answers by itself, and that its answer doesn't blame the
// client.
func (f *front) passesNothing(t *testing.T, requests [][]byte) {
	t.Helper()
	var clients sync.WaitGroup // HAProxy takes seconds to notice that the verifier is gone.
	for _, raw := range append(slices.Clone(requests), f.request("token"), f.request("revoked")) {
		clients.Go(func() {
			if status, err := send(t.Context(), f.address, raw, timeout); err != nil || status < 400 {
				t.Errorf("status %d without a verifier, error %v", status, err)
			}
		})
	}
	clients.Wait()
	if n := f.check(t); n > 0 {
		t.Errorf("%d requests reach the upstream without a verifier", n)
	}
}
