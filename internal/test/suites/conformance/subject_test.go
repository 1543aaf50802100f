package conformance_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/override"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// subject is a set-up under test: its proxy, which runs, with an upstream and a gate of its own.
type subject struct {
	*environment

	t        *testing.T
	setUp    setUp
	at       proxies.Listening
	upstream *proxies.Upstream
	gate     *gate
	// besidePlane is the control plane of the set-ups that are started beside this one, one after the other.
	besidePlane plane
	// faults are what must not be, whatever the proxy.
	faults []string
}

// start starts a set-up, with edits of its guide's configuration.
func (e *environment) start(t *testing.T, u setUp, edits ...[2]string) *subject {
	t.Helper()
	s := e.startOn(t, u, e.planeFor(t, u), edits)
	s.besidePlane = e.planeFor(t, u)
	return s
}

// startOn starts a set-up that reads its objects, if it does so, from a control plane.
func (e *environment) startOn(t *testing.T, u setUp, from plane, edits [][2]string) *subject {
	t.Helper()
	s := &subject{
		environment: e, t: t, setUp: u, upstream: proxies.StartUpstream(t), gate: newGate(t, e.Verifier.Addresses),
	}
	s.upstream.Answer = respond
	s.at, _ = u.proxy().With(s.apart(edits)...).Start(t, e.proxyEnvironment(s.gate, from), s.upstream)
	s.eventuallyPasses()
	return s
}

// beside starts the set-up once more, with edits of its guide's configuration, and asks it. It ends with its answer.
func (s *subject) beside(what string, edits [][2]string, ask func(v *subject) string) (cell string) {
	s.t.Helper()
	s.t.Run(what, func(t *testing.T) {
		v := s.startOn(t, s.setUp, s.besidePlane, edits)
		cell = ask(v)
		s.faults = append(s.faults, v.faults...)
	})
	return cell
}

// apart adds an edit that gives a Traefik's objects a namespace of their own, because several run at the same time.
func (s *subject) apart(edits [][2]string) [][2]string {
	if s.setUp.name != "traefik" {
		return edits
	}
	own := fmt.Sprintf("namespace: warehouse-%d\n", s.namespaces.Add(1))
	return append(slices.Clone(edits), [2]string{"namespace: warehouse\n", own})
}

// respond returns the upstream's response to a request.
func respond(r *proxies.Received) string {
	if slices.Contains(r.Values("upgrade"), "websocket") {
		return head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket",
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
	}
	return head("HTTP/1.1 200 OK", "Content-Length: 0", "X-Upstream: yes")
}

// fault records a fault.
func (s *subject) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// eventuallyPasses waits until an allowed request passes.
func (s *subject) eventuallyPasses() {
	s.t.Helper()
	program.WaitUntil(s.t, timeout, s.setUp.name+" lets a request pass", func() error {
		if a := s.ask(s.request("GET", "/api/products", "reader")); !a.passed() {
			return fmt.Errorf("status %d", a.status)
		}
		return nil
	})
}

// identity returns the identity headers of a key, by their names in lower case.
func (k key) identity() map[string]string {
	return map[string]string{
		"x-api-key-id": k.id, "x-api-key-name": k.name, "x-api-key-scopes": k.scopes, "x-api-key-tenant": k.tenant,
	}
}

// checkUpstream checks what holds for every request that reaches the upstream.
func (s *subject) checkUpstream(r *proxies.Received) {
	if r.Broken != "" {
		s.fault("a request can be parsed in more than one way: %s", r.Broken)
	}
	if !s.hasOneIdentity(r) {
		s.fault("the identity headers at the upstream are no key's: %q %q %q %q", r.Values("x-api-key-id"),
			r.Values("x-api-key-name"), r.Values("x-api-key-scopes"), r.Values("x-api-key-tenant"))
	}
	if len(r.Values("authorization")) > 0 {
		s.fault("the token reaches the upstream")
	}
	if names := overriding(r); len(names) > 0 {
		s.fault("the upstream gets %q", names)
	}
	for _, address := range r.Values("x-forwarded-for") {
		if address == "203.0.113.7" {
			s.fault("an address that the client made up reaches the upstream: %q", address)
		}
	}
	if host := strings.ToLower(r.Host()); r.Site != nil && !r.Site.Serves(strings.Split(host, ":")[0]) {
		s.fault("a request for %s reaches the upstream of %s", host, r.Site.Name)
	}
}

// hasOneIdentity reports whether all identity headers of a request are those of one key, or there are none.
func (s *subject) hasOneIdentity(r *proxies.Received) bool {
	told := map[string][]string{}
	for name := range (key{}).identity() {
		told[name] = r.Values(name)
	}
	isFor := func(k key) bool {
		for name, value := range k.identity() {
			if !slices.Equal(told[name], []string{value}) && (value != "" || len(told[name]) > 0) {
				return false
			}
		}
		return true
	}
	for _, k := range s.keys {
		if k.id != "" && isFor(k) {
			return true
		}
	}
	return isFor(key{})
}

// overriding returns the headers of a request by which some framework would read another method, path, host or scheme.
// It leaves out those that a proxy itself writes, with values that are true.
func overriding(r *proxies.Received) (names []string) {
	for _, h := range override.Headers {
		name := strings.ToLower(h.Name)
		for _, value := range r.Values(name) {
			own := h.Part == override.Scheme && (value == "http" || value == "https") ||
				name == "x-forwarded-host" && value == r.Host()
			if !own {
				names = append(names, h.Name)
			}
		}
	}
	return names
}

// mustPass records a fault if a request that may pass does not.
func (s *subject) mustPass(what string, a answer) {
	if !a.passed() {
		s.fault("%s does not pass: status %d %s", what, a.status, a.body)
	}
}

// mustNotPass records a fault if a request that may not pass is allowed or reaches the upstream.
func (s *subject) mustNotPass(what string, a answer) {
	if a.status != 0 && a.status < http.StatusBadRequest && a.status/100 != 3 || len(a.upstream) > 0 {
		s.fault("%s passes: status %d, %d requests reach the upstream", what, a.status, len(a.upstream))
	}
}

// after returns the cell for how long something took. A busy machine makes things slower, never faster, so the time is
// rounded down to one of the timeouts that proxies have.
func after(took time.Duration) string {
	for _, step := range []int{60, 30, 10, 5, 2, 1} {
		if took >= time.Duration(step)*time.Second*95/100 {
			return fmt.Sprintf("after %d s", step)
		}
	}
	return "at once"
}
