package decide_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/decide"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/usage"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// routed returns a request that is decided by its route, as most are.
func (h *harness) routed(key string) *verify.Request {
	request := h.request(key)
	request.FixedScopes = nil
	request.Host, request.Method, request.Target = fixture.Host, "GET", "/api/products/7?page=2"
	return request
}

// newLoad returns a harness with a usage recorder and routes, as in production.
func newLoad(t testing.TB) *harness {
	t.Helper()
	var h *harness
	uses, err := usage.New(usage.Options{
		Config: &rest.Config{Host: "127.0.0.1:1"}, Name: "one",
		Clock: func() time.Time { return h.now }, Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	h = newHarnessWith(t, decide.Options{Uses: uses})
	h.setUsageSlot(uses.Apply(&keysv1alpha1.ApiKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "key"},
		Status:     keysv1alpha1.ApiKeyStatus{Credentials: []keysv1alpha1.Credential{{ID: "AcmeKey1"}}},
	})("AcmeKey1"))
	h.view.SetRoutes(access.Compile([]keysv1alpha1.AccessPolicy{*fixture.Policy("nexuscommerce")}))
	wantReason(t, h.Decide("nginx", h.routed(h.key)), verify.ReasonAllowed)
	return h
}

// TestAllocations checks that a decision allocates nothing, including its counters, the histogram and the usage slot,
// which records a new time with each request.
func TestAllocations(t *testing.T) {
	h := newLoad(t)
	for name, key := range map[string]string{"good": h.key, "malformed": "junk", "unknown": unknown(t)} {
		request := h.routed(key)
		if got := testing.AllocsPerRun(1000, func() {
			h.now = h.now.Add(time.Millisecond)
			h.Decide("nginx", request)
		}); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

// TestJunkLeavesNothing checks that a flood of different invalid tokens, tenants and routes leaves nothing in memory.
func TestJunkLeavesNothing(t *testing.T) {
	h := newLoad(t)
	root, err := token.RootFrom(bytes.Repeat([]byte{8}, token.RootLength))
	if err != nil {
		t.Fatal(err)
	}
	flood := func(n int) {
		request := h.routed("")
		for i := range n {
			tok := fmt.Sprintf("nxc_live_%057d", i) // Its checksum is wrong.
			if i%4 == 0 {
				wellFormed, err := token.Derive(root, token.FormatLive, "uid", fmt.Sprintf("%08d", i))
				if err != nil {
					t.Fatal(err)
				}
				tok = wellFormed.Reveal()
			}
			request.Authorization[0] = "Bearer " + tok
			request.TenantID[0] = fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
			request.Target = "/api/" + tok
			if got := h.Decide("nginx", request); got.Outcome == verify.Allow {
				t.Fatal("an invalid token is allowed")
			}
		}
	}
	flood(10_000)
	before := heap()
	flood(300_000) // 30 seconds at 10,000 per second.
	if after := heap(); after > before+64<<10 {
		t.Errorf("%d bytes before, %d after", before, after)
	}
	runtime.KeepAlive(h)
}

// heap returns how many bytes are in use.
func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// unknown returns a well-formed token that belongs to no key.
func unknown(t testing.TB) string {
	t.Helper()
	root, err := token.RootFrom(bytes.Repeat([]byte{8}, token.RootLength))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := token.Derive(root, token.FormatLive, "uid", "nobody00")
	if err != nil {
		t.Fatal(err)
	}
	return tok.Reveal()
}

// BenchmarkDecide measures a decision including its reports. BenchmarkDecide in internal/verify measures the decision
// alone.
func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct{ name, key string }{{"good", ""}, {"malformed", "junk"}, {"unknown", unknown(b)}} {
		b.Run(c.name, func(b *testing.B) {
			h := newLoad(b)
			key := c.key
			if key == "" {
				key = h.key
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				request := h.routed(key)
				for pb.Next() {
					h.Decide("nginx", request)
				}
			})
		})
	}
}
