package conformance_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// outages are about a verifier that does not answer, or not as it should. Each row ends with one that does.
var outages = []row{
	{"connections to the verifier for 200 requests, ten at a time", connections},
	{"the verifier does not know whether it is up to date", func(s *session) string {
		return s.without(func() { s.gate.leadTo(s.stale) }, s.lead, func(a answer) string {
			return refusalCell(verify.Decision{Outcome: verify.Unavailable, Reason: verify.ReasonUnavailable}, a)
		})
	}},
	{stoppedQuestion, func(s *session) string {
		return s.without(s.gate.stop, func() { s.gate.resume(s.t) }, timed)
	}},
	{"the verifier answers 5xx", func(s *session) string {
		return s.without(func() { s.gate.leadTo(s.failing) }, s.lead, timed)
	}},
	{"the verifier takes 3 seconds", func(s *session) string {
		return s.instead(s.slow, func(a answer) string {
			if a.passed() {
				return "passes"
			}
			return s.waited(a)
		})
	}},
	{"the verifier is frozen", func(s *session) string {
		return s.without(s.gate.freeze, s.gate.thaw, s.waited)
	}},
	{"one replica of several is frozen: requests fail for", oneFrozen},
}

// timed is the cell of a refusal that may have taken a while.
func timed(a answer) string { return a.code() + " " + after(a.took) }

// waited is the cell of a refusal for want of an answer.
func (s *session) waited(a answer) string {
	const seconds = 10 * time.Second
	if s.setUp.watching && a.took < seconds {
		return a.code() + " within seconds"
	}
	return timed(a)
}

// lead has the gate lead to the verifier.
func (s *session) lead() { s.gate.leadTo(s.Verifier.Addresses) }

// without asks while there is no verifier, and notes as a fault whatever passes.
func (s *session) without(begin, end func(), cell func(answer) string) string {
	begin()
	a := s.ask(s.request("GET", "/api/products", "reader"))
	s.mustNotPass("a request without a verifier", a)
	end()
	s.eventuallyPasses()
	return cell(a)
}

// instead asks while something else answers than the verifier.
func (s *session) instead(other install.Addresses, cell func(answer) string) string {
	s.gate.leadTo(other)
	a := s.ask(s.request("GET", "/api/products", "reader"))
	s.lead()
	s.eventuallyPasses()
	return cell(a)
}

// connections counts how many the proxy opens.
func connections(s *session) string {
	const requests, clients = 200, 10
	before := s.gate.opened()
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range requests / clients {
				s.quietly()
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

// quietly asks for what may pass, from one of several clients at once, and reports how long that took and whether it
// has passed.
func (s *session) quietly() (took time.Duration, passed bool) {
	began := time.Now()
	conn, err := s.dial(clientAddress)
	if err != nil {
		return time.Since(began), false
	}
	defer conn.Close()
	request := s.request("GET", "/api/products", "reader")
	if _, err := fmt.Fprint(conn, request); err != nil {
		return time.Since(began), false
	}
	a := read(conn, request)
	return time.Since(began), a.passed()
}

// oneFrozen freezes the connections that there are, while requests come all the time, and returns how long they fail.
func oneFrozen(s *session) string {
	const rate, quiet, most = 20, 6 * time.Second, 12 * time.Second
	for range 20 { // So that there are connections.
		s.quietly()
	}
	frozen := time.Now()
	s.gate.freezeOpen()
	var mu sync.Mutex
	var last time.Duration // when the last request has failed
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
			_, passed := s.quietly()
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
	for _, began := range pending { // What is waiting still has failed for as long.
		last = max(last, time.Since(began))
	}
	mu.Unlock()
	s.lead()
	all.Wait()
	s.upstream.Take()
	s.eventuallyPasses()
	return ceiling(last)
}

// ceiling is a time as a cell has it: whether a proxy goes on waiting for a replica that does not answer. How long
// exactly depends on how busy the machine is.
func ceiling(d time.Duration) string {
	const long = 10 * time.Second
	if d < long {
		return "under 10 s"
	}
	return "longer than 10 s"
}
