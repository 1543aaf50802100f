package crash_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/apiproxy"
)

// moment is when, relative to a write, the controller dies.
type moment string

const (
	// beforeWrite is when the controller has decided to write, and the API server has not seen it.
	beforeWrite moment = "before"
	// afterWrite is when the API server has committed, and the controller has not seen the answer.
	afterWrite moment = "after"
)

// killer kills the controller at one of its writes.
type killer struct {
	proxy *apiproxy.Proxy

	mu sync.Mutex
	// seen has the writes since it was armed, such as "POST /api/v1/namespaces/a/secrets".
	seen   []string
	armed  bool
	target int
	when   moment
	kill   func()
}

func newKiller(t *testing.T, config *rest.Config) *killer {
	t.Helper()
	k := &killer{}
	k.proxy = apiproxy.New(t, config, k.count)
	return k
}

// arm makes the killer kill the controller at the target-th write from now, counted from 1.
func (k *killer) arm(target int, when moment, kill func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen, k.armed, k.target, k.when, k.kill = nil, true, target, when, kill
}

// disarm stops counting, and returns the writes that were counted.
func (k *killer) disarm() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.armed = false
	return k.seen
}

// count counts a write, and returns whether and when the controller is killed at it.
func (k *killer) count(r *http.Request) apiproxy.Interference {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.armed || strings.HasPrefix(r.URL.Path, "/apis/authorization.k8s.io/") { // A review, which is not stored.
		return apiproxy.Interference{}
	}
	k.seen = append(k.seen, r.Method+" "+r.URL.Path)
	switch {
	case len(k.seen) != k.target:
		return apiproxy.Interference{}
	case k.when == beforeWrite:
		return apiproxy.Interference{Before: k.kill}
	}
	return apiproxy.Interference{After: k.kill}
}
