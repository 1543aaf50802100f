package conformance_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// outages are questions about a verifier that does not answer, or not as it should. Each ends with one that does.
var outages = []row{
	{"connections to the verifier for 200 requests, ten at a time", connections},
	{"the verifier does not know whether it is up to date", func(s *subject) string {
		return s.without(func() { s.gate.leadTo(s.stale) }, s.restore, func(a answer) string {
			return refusalCell(verify.Decision{Outcome: verify.Unavailable, Reason: verify.ReasonUnavailable}, a)
		})
	}},
	{stoppedQuestion, func(s *subject) string {
		return s.without(s.gate.stop, func() { s.gate.resume(s.t) }, timed)
	}},
	{"the verifier answers 5xx", func(s *subject) string {
		return s.without(func() { s.gate.leadTo(s.failing) }, s.restore, timed)
	}},
	{"the verifier takes 3 seconds", func(s *subject) string {
		return s.instead(s.slow, func(a answer) string {
			if a.passed() {
				return "passes"
			}
			return s.waited(a)
		})
	}},
	{"the verifier is frozen", func(s *subject) string {
		return s.without(s.gate.freeze, s.gate.thaw, s.waited)
	}},
	{"one replica of several is frozen: requests fail for", oneFrozen},
}

// timed returns the cell for a refusal that may have taken a while.
func timed(a answer) string { return a.code() + " " + after(a.took) }

// waited returns the cell for a refusal because the verifier did not answer.
func (s *subject) waited(a answer) string {
	const seconds = 10 * time.Second
	if s.setUp.watching && a.took < seconds {
		return a.code() + " within seconds"
	}
	return timed(a)
}

// restore makes the gate lead to the verifier.
func (s *subject) restore() { s.gate.leadTo(s.Verifier.Addresses) }

// without sends a request while there is no verifier, and records a fault if it passes.
func (s *subject) without(begin, end func(), cell func(answer) string) string {
	begin()
	a := s.ask(s.request("GET", "/api/products", "reader"))
	s.mustNotPass("a request without a verifier", a)
	end()
	s.eventuallyPasses()
	return cell(a)
}

// instead sends a request while another server answers in the verifier's place.
func (s *subject) instead(other install.Addresses, cell func(answer) string) string {
	s.gate.leadTo(other)
	a := s.ask(s.request("GET", "/api/products", "reader"))
	s.restore()
	s.eventuallyPasses()
	return cell(a)
}

// connections counts the connections that the proxy opens for many requests.
func connections(s *subject) string {
	const requests, clients = 200, 10
	before := s.gate.opened()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range requests / clients {
				s.try()
			}
		})
	}
	all.Wait()
	s.upstream.Take()
	switch opened := s.gate.opened() - before; {
	case opened <= 3*clients:
		return "kept"
	case opened >= requests:
		return "one each"
	default:
		return "few are kept"
	}
}

// try sends a request that may pass, and reports whether it does. It may be called several times at once, because it
// doesn't look at what has reached the upstream.
func (s *subject) try() bool {
	conn, err := s.dial(clientAddress)
	if err != nil {
		return false
	}
	defer conn.Close()
	request := s.request("GET", "/api/products", "reader")
	if _, err := fmt.Fprint(conn, request); err != nil {
		return false
	}
	return read(conn, request).passed()
}

// oneFrozen freezes the connections that are open, while requests keep coming, and returns for how long they fail.
func oneFrozen(s *subject) string {
	const rate, quiet, most = 20, 6 * time.Second, 12 * time.Second
	for range 20 { // So that there are connections.
		s.try()
	}
	frozen := time.Now()
	s.gate.freezeOpen()
	var mu sync.Mutex
	var last time.Duration // when the latest failure was
	pending := map[int]time.Time{}
	ctx, cancel := context.WithTimeout(s.t.Context(), most)
	defer cancel()
	var all sync.WaitGroup
	tick := time.NewTicker(time.Second / rate)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		mu.Lock()
		oldest := time.Now()
		for _, began := range pending {
			if began.Before(oldest) {
				oldest = began
			}
		}
		calm := time.Since(frozen)-last > quiet && time.Since(oldest) < time.Second
		pending[i] = time.Now()
		mu.Unlock()
		if calm {
			break
		}
		all.Go(func() {
			passed := s.try()
			mu.Lock()
			defer mu.Unlock()
			delete(pending, i)
			if !passed {
				last = time.Since(frozen)
			}
		})
		<-tick.C
	}
	mu.Lock()
	for _, began := range pending { // Requests that still wait count as failed.
		last = max(last, time.Since(began))
	}
	mu.Unlock()
	s.restore()
	all.Wait()
	s.upstream.Take()
	s.eventuallyPasses()
	return ceiling(last)
}

// ceiling returns the cell for a time: whether the proxy goes on waiting for a replica that does not answer. How long
// exactly depends on how busy the machine is.
func ceiling(d time.Duration) string {
	const long = 10 * time.Second
	if d < long {
		return "under 10 s"
	}
	return "longer than 10 s"
}
