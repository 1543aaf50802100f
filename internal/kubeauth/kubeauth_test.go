package kubeauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/kubeauth"
)

const (
	good  = "a-good-token"
	other = "another-good-token"
	path  = "/token/introspect"
)

// cluster is an API server that knows two tokens, and authorizes the user of one of them.
type cluster struct {
	reviewed atomic.Int32
	// audiences are returned for every token, if the review has any.
	audiences []string
	fault     error
	access    access
	wait      chan struct{}
	asked     atomic.Pointer[[]string] // the audiences
}

func (c *cluster) ReviewToken(
	ctx context.Context, review *authenticationv1.TokenReview,
) (*authenticationv1.TokenReview, error) {
	c.reviewed.Add(1)
	if c.wait != nil {
		select {
		case <-c.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c.asked.Store(&review.Spec.Audiences)
	if c.fault != nil {
		return nil, c.fault
	}
	answer := &authenticationv1.TokenReview{}
	for token, name := range map[string]string{good: "alice", other: "bob"} {
		if review.Spec.Token == token {
			answer.Status.Authenticated = true
			answer.Status.User = authenticationv1.UserInfo{
				Username: name, UID: "uid", Groups: []string{"g"}, Extra: map[string]authenticationv1.ExtraValue{"e": {"x", "y"}},
			}
		}
	}
	if review.Spec.Audiences != nil {
		answer.Status.Audiences = c.audiences
	}
	return answer, nil
}

type access struct {
	reviewed *authorizationv1.SubjectAccessReviewSpec
	fault    error
	denied   bool
}

func (c *cluster) ReviewAccess(
	_ context.Context, review *authorizationv1.SubjectAccessReview,
) (*authorizationv1.SubjectAccessReview, error) {
	a := &c.access
	a.reviewed = review.Spec.DeepCopy()
	if a.fault != nil {
		return nil, a.fault
	}
	answer := review.DeepCopy()
	answer.Status.Allowed, answer.Status.Denied = review.Spec.User == "alice", a.denied
	return answer, nil
}

type harness struct {
	*cluster
	clock   *clocktesting.FakeClock
	guard   *kubeauth.Guard
	handler http.Handler
	passed  int
	log     strings.Builder
}

func newHarness(audiences ...string) *harness {
	return newHarnessBehind(clientip.Trust{}, audiences...)
}

// newHarnessBehind returns a harness whose guard trusts proxies.
func newHarnessBehind(trust clientip.Trust, audiences ...string) *harness {
	h := &harness{cluster: &cluster{}, clock: clocktesting.NewFakeClock(time.Now())}
	h.guard = kubeauth.New(kubeauth.Options{
		Cluster: h.cluster, Audiences: audiences, Trust: trust, Clock: h.clock,
		Log: funcr.New(func(prefix, args string) { fmt.Fprintln(&h.log, prefix, args) }, funcr.Options{Verbosity: 10}),
	})
	h.handler = h.guard.Protect(path, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { h.passed++ }))
	return h
}

func (h *harness) ask(authorization ...string) *httptest.ResponseRecorder {
	return h.askFrom("192.0.2.1", authorization...)
}

// askFrom sends a request from an address.
func (h *harness) askFrom(address string, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/whatever", http.NoBody)
	r.RemoteAddr = net.JoinHostPort(address, "1234")
	r.Header["Authorization"] = authorization
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

func TestAllowedCaller(t *testing.T) {
	h := newHarness()
	if w := h.ask("Bearer " + good); w.Code != http.StatusOK || h.passed != 1 {
		t.Errorf("status %d, passed %d", w.Code, h.passed)
	}
	want := &authorizationv1.SubjectAccessReviewSpec{
		User: "alice", UID: "uid", Groups: []string{"g"}, Extra: map[string]authorizationv1.ExtraValue{"e": {"x", "y"}},
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "post"},
	}
	if !reflect.DeepEqual(h.access.reviewed, want) {
		t.Errorf("asked about %+v", h.access.reviewed)
	}
}

func TestRefusedCallers(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "tokenreviews"}, good, errors.New(good))
	for name, test := range map[string]struct {
		authorization []string
		change        func(*harness)
		status        int
		reviews       int32
	}{
		"nobody":                    {nil, nil, 401, 0},
		"an empty header":           {[]string{""}, nil, 401, 0},
		"no token":                  {[]string{"Bearer "}, nil, 401, 0},
		"no scheme":                 {[]string{good}, nil, 401, 0},
		"another scheme":            {[]string{"Basic " + good}, nil, 401, 0},
		"two headers":               {[]string{"Bearer " + good, "Bearer " + good}, nil, 401, 0},
		"two in one":                {[]string{"Bearer " + good + ",Bearer " + good}, nil, 401, 0},
		"a space in the token":      {[]string{"Bearer  " + good}, nil, 401, 0},
		"far too long":              {[]string{"Bearer " + strings.Repeat("a", 1<<20)}, nil, 401, 0},
		"a token that nobody knows": {[]string{"Bearer x"}, nil, 401, 1},
		"a user who may not":        {[]string{"Bearer " + other}, nil, 403, 1},
		"a user who is denied":      {[]string{"Bearer " + good}, func(h *harness) { h.access.denied = true }, 403, 1},
		"the verifier may not ask":  {[]string{"Bearer " + good}, func(h *harness) { h.fault = forbidden }, 503, 1},
		"nobody knows what users may": {
			[]string{"Bearer " + good}, func(h *harness) { h.access.fault = errors.New(good) }, 503, 1,
		},
		"the API server is away": {
			[]string{"Bearer " + good}, func(h *harness) { h.fault = errors.New("dial " + good) }, 503, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness()
			if test.change != nil {
				test.change(h)
			}
			w := h.ask(test.authorization...)
			if w.Code != test.status || h.passed != 0 || h.reviewed.Load() != test.reviews {
				t.Errorf("status %d, passed %d, asked %d times", w.Code, h.passed, h.reviewed.Load())
			}
			if got := w.Header().Get("WWW-Authenticate"); (got == "Bearer") != (test.status == 401) {
				t.Errorf("challenge %q", got)
			}
			if !json.Valid(w.Body.Bytes()) || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%v %s", w.Header(), w.Body)
			}
			if strings.Contains(w.Body.String()+h.log.String(), good) || (h.log.Len() > 0) != (test.status == 503) {
				t.Errorf("answered %s, logged %s", w.Body, h.log.String())
			}
		})
	}
}

// TestCache checks that an answer is cached for ten seconds, and that a failure to ask is not.
func TestCache(t *testing.T) {
	h := newHarness()
	for _, token := range []string{good, other, "x"} {
		before := h.reviewed.Load()
		first := h.ask("Bearer " + token).Code
		for range 3 {
			if again := h.ask("Bearer " + token).Code; again != first {
				t.Errorf("status %d, then %d", first, again)
			}
		}
		if n := h.reviewed.Load() - before; n != 1 {
			t.Errorf("%q is asked about %d times", token, n)
		}
	}
	h.access.denied = true
	h.clock.Step(9 * time.Second)
	if status := h.ask("Bearer " + good).Code; status != http.StatusOK {
		t.Errorf("status %d after 9 s", status)
	}
	h.clock.Step(2 * time.Second)
	if status := h.ask("Bearer " + good).Code; status != http.StatusForbidden {
		t.Errorf("status %d after 11 s", status)
	}

	h.fault = errors.New("away")
	h.clock.Step(time.Minute)
	if status := h.ask("Bearer " + good).Code; status != http.StatusServiceUnavailable {
		t.Errorf("status %d while the API server is away", status)
	}
	h.fault, h.access.denied = nil, false
	if status := h.ask("Bearer " + good).Code; status != http.StatusOK {
		t.Errorf("status %d when it is back", status)
	}
}

// TestJunkPushesNobodyOut checks that refused callers don't displace allowed ones from the cache.
func TestJunkPushesNobodyOut(t *testing.T) {
	h := newHarness()
	h.ask("Bearer " + good)
	for n := range 3000 {
		h.ask(fmt.Sprintf("Bearer junk-%d", n))
	}
	before := h.reviewed.Load()
	if status := h.ask("Bearer " + good).Code; status != http.StatusOK || h.reviewed.Load() != before {
		t.Errorf("status %d, asked %d times more", status, h.reviewed.Load()-before)
	}
}

func TestAudiences(t *testing.T) {
	for name, test := range map[string]struct {
		ours, theirs []string
		status       int
	}{
		"none asked for":            {nil, nil, 200},
		"the one":                   {[]string{"apikey-verifier"}, []string{"apikey-verifier"}, 200},
		"one of several":            {[]string{"a", "apikey-verifier"}, []string{"apikey-verifier"}, 200},
		"another":                   {[]string{"apikey-verifier"}, []string{"b"}, 401},
		"an API server that has no": {[]string{"apikey-verifier"}, nil, 401},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(test.ours...)
			h.audiences = test.theirs
			if status := h.ask("Bearer " + good).Code; status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			if asked := *h.asked.Load(); !slices.Equal(asked, test.ours) {
				t.Errorf("asked for %v", asked)
			}
		})
	}
}

// TestAPIServerToo checks that a token for the API server is accepted only by a guard that WithAPIServer returned.
func TestAPIServerToo(t *testing.T) {
	h := newHarness("apikey-verifier")
	h.audiences = []string{"https://kubernetes.default.svc"}
	if status := h.ask("Bearer " + good).Code; status != http.StatusUnauthorized {
		t.Errorf("status %d without", status)
	}
	h.handler = h.guard.WithAPIServer().Protect(
		path, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { h.passed++ }),
	)
	for token, want := range map[string]int{
		good: http.StatusOK, "junk": http.StatusUnauthorized, other: http.StatusForbidden,
	} {
		if status := h.ask("Bearer " + token).Code; status != want {
			t.Errorf("status %d, want %d", status, want)
		}
	}
	if asked := *h.asked.Load(); len(asked) != 0 {
		t.Errorf("asked for %v last", asked)
	}
}

// TestNotTooManyAtATime checks that callers above the limits are turned away at once: first those of a peer that has
// many, then all. A caller who was allowed before is still served.
func TestNotTooManyAtATime(t *testing.T) {
	h := newHarness()
	h.ask("Bearer " + good)
	h.clock.Step(time.Minute) // The answer has left the cache; that the caller was allowed before has not.
	before := h.reviewed.Load()
	h.wait = make(chan struct{})
	answers := make(chan int)
	const eachPeer, all = 4, 32
	asking := 0
	ask := func(from, token string) {
		asking++
		go func() { answers <- h.askFrom(from, "Bearer "+token).Code }()
		gomega.NewWithT(t).Eventually(h.reviewed.Load, time.Minute).Should(gomega.BeEquivalentTo(int(before) + asking))
	}
	for n := range all {
		ask(fmt.Sprintf("10.0.0.%d", n/eachPeer), fmt.Sprintf("junk-%d", n))
	}
	if status := h.askFrom("10.0.0.0", "Bearer one-more").Code; status != http.StatusTooManyRequests {
		t.Errorf("status %d for one more of a peer", status)
	}
	ask("10.0.1.1", "of-a-peer-that-asks-seldom")
	if status := h.askFrom("10.0.1.1", "Bearer another").Code; status != http.StatusServiceUnavailable {
		t.Errorf("status %d for another token of that peer", status)
	}
	ask("10.0.0.0", good)
	close(h.wait)
	statuses := map[int]int{}
	for range asking {
		statuses[<-answers]++
	}
	if statuses[http.StatusUnauthorized] != all+1 || statuses[http.StatusOK] != 1 {
		t.Errorf("statuses %v", statuses)
	}
	if status := h.askFrom("10.0.1.2", "Bearer one-more").Code; status != http.StatusUnauthorized {
		t.Errorf("status %d for one more, afterwards", status)
	}
}

// TestNoisyPeers lets peers make up tokens, 126 a second each, and checks that callers from other addresses are never
// refused, and that the API server is asked about few of the made-up tokens.
func TestNoisyPeers(t *testing.T) {
	for name, noisy := range map[string][]string{
		"one": {"127.0.0.2"},
		"ten": {
			"10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6", "10.1.0.7", "10.1.0.8", "10.1.0.9",
			"10.1.0.10",
		},
		"one IPv6 network":              {"2001:db8::1", "2001:db8::2", "2001:db8::ffff:1", "2001:db8::a:b:c:d"},
		"where the good ones come from": {"127.0.0.3"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness()
			if status := h.askFrom("127.0.0.3", "Bearer "+good).Code; status != http.StatusOK {
				t.Fatalf("status %d", status)
			}
			before := h.reviewed.Load()
			const seconds, each = 60, 126
			passed, refused := 0, 0
			for n := range seconds * each {
				for _, from := range noisy {
					if status := h.askFrom(from, fmt.Sprintf("Bearer junk-%s-%d", from, n)).Code; status == http.StatusOK {
						t.Fatalf("junk passes")
					}
				}
				if n%each == 0 {
					for address, token := range map[string]string{"127.0.0.3": good, fmt.Sprintf("10.9.%d.1", n/each): other} {
						status := h.askFrom(address, "Bearer "+token).Code
						if status == http.StatusOK || status == http.StatusForbidden {
							passed++
						} else {
							refused++
						}
					}
				}
				h.clock.Step(time.Second / each)
			}
			if refused != 0 || passed != 2*seconds {
				t.Errorf("of honest callers %d were answered and %d were not", passed, refused)
			}
			// 25 a second of the made-up tokens, and 25 more of peers that call rarely, as every peer does at first.
			if asked := int(h.reviewed.Load() - before); asked > 50*(seconds+2) ||
				len(noisy) != 10 && asked > 5*seconds+20+2*seconds {
				t.Errorf("the API server was asked %d times", asked)
			}
		})
	}
}

// TestManyPeers checks that any number of peers takes a bounded amount of memory, and causes a bounded number of
// requests to the API server.
func TestManyPeers(t *testing.T) {
	h := newHarness()
	for n := range 20_000 {
		h.askFrom(fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255), fmt.Sprintf("Bearer junk-%d", n))
	}
	if asked := h.reviewed.Load(); asked > 100 {
		t.Errorf("the API server was asked %d times at once", asked)
	}
}

// TestManyPeersDoNotDisplaceKnownCallers makes up tokens that each come from an address of their own, as from many pods
// or a machine with many addresses. Callers who were allowed before are still served.
func TestManyPeersDoNotDisplaceKnownCallers(t *testing.T) {
	h := newHarness()
	if status := h.askFrom("127.0.0.3", "Bearer "+good).Code; status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	const seconds, each = 120, 200
	for n := range seconds * each {
		h.askFrom(fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255), fmt.Sprintf("Bearer junk-%d", n))
		if n%each == 0 {
			if status := h.askFrom("127.0.0.3", "Bearer "+good).Code; status != http.StatusOK {
				t.Fatalf("status %d after %d seconds", status, n/each)
			}
		}
		h.clock.Step(time.Second / each)
	}
	if asked := h.reviewed.Load(); asked > 50*(seconds+2)+seconds {
		t.Errorf("the API server was asked %d times", asked)
	}
}

// TestBehindProxies checks that callers behind a trusted proxy are distinguished, and that other proxies'
// X-Forwarded-For is ignored.
func TestBehindProxies(t *testing.T) {
	for proxy, refused := range map[string]bool{"10.0.0.1": false, "10.0.0.2": true} {
		trust, err := clientip.NewTrust([]string{"10.0.0.1/32"})
		if err != nil {
			t.Fatal(err)
		}
		h := newHarnessBehind(trust)
		ask := func(client, token string) int {
			r := httptest.NewRequest(http.MethodPost, "/whatever", http.NoBody)
			r.RemoteAddr = net.JoinHostPort(proxy, "1234")
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("X-Forwarded-For", client)
			w := httptest.NewRecorder()
			h.handler.ServeHTTP(w, r)
			return w.Code
		}
		for n := range 100 {
			ask("192.0.2.7", fmt.Sprintf("junk-%d", n))
		}
		if status := ask("192.0.2.8", good); (status != http.StatusOK) != refused {
			t.Errorf("by way of %s: status %d", proxy, status)
		}
	}
}
