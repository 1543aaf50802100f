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

// assassin kills the controller at one of its writes.
type assassin struct {
	proxy *apiproxy.Proxy

	mu sync.Mutex
	// seen are the writes since it was armed, such as "POST /api/v1/namespaces/a/secrets".
	seen   []string
	armed  bool
	target int
	moment moment
	kill   func()
}

func newAssassin(t *testing.T, config *rest.Config) *assassin {
	t.Helper()
	a := &assassin{}
	a.proxy = apiproxy.New(t, config, a.judge)
	return a
}

// arm makes the assassin strike at the target-th write from now, counted from 1.
func (a *assassin) arm(target int, moment moment, kill func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen, a.armed, a.target, a.moment, a.kill = nil, true, target, moment, kill
}

// disarm ends the watch and returns the writes that were seen.
func (a *assassin) disarm() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armed = false
	return a.seen
}

// judge counts a write, and says whether and when to strike.
func (a *assassin) judge(r *http.Request) apiproxy.Interference {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.armed || strings.HasPrefix(r.URL.Path, "/apis/authorization.k8s.io/") { // A question, which is kept nowhere.
		return apiproxy.Interference{}
	}
	a.seen = append(a.seen, r.Method+" "+r.URL.Path)
	switch {
	case len(a.seen) != a.target:
		return apiproxy.Interference{}
	case a.moment == beforeWrite:
		return apiproxy.Interference{Before: a.kill}
	}
	return apiproxy.Interference{After: a.kill}
}
