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

// session is a set-up that is asked.
type session struct {
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
func (w *environment) start(t *testing.T, u setUp, edits ...[2]string) *session {
	t.Helper()
	s := w.startOn(t, u, w.planeFor(t, u), edits)
	s.besidePlane = w.planeFor(t, u)
	return s
}

// startOn starts a set-up that reads its objects, if it does so, from a control plane.
func (w *environment) startOn(t *testing.T, u setUp, from plane, edits [][2]string) *session {
	t.Helper()
	s := &session{
		environment: w, t: t, setUp: u, upstream: proxies.StartUpstream(t), gate: newGate(t, w.Verifier.Addresses),
	}
	s.upstream.Answer = respond
	s.at, _ = u.proxy().With(s.apart(edits)...).Start(t, w.proxyEnvironment(s.gate, from), s.upstream)
	s.eventuallyPasses()
	return s
}

// beside starts the set-up once more, with edits of its guide's configuration, and asks it. It ends with its answer.
func (s *session) beside(what string, edits [][2]string, ask func(v *session) string) (cell string) {
	s.t.Helper()
	s.t.Run(what, func(t *testing.T) {
		v := s.startOn(t, s.setUp, s.besidePlane, edits)
		cell = ask(v)
		s.faults = append(s.faults, v.faults...)
	})
	return cell
}

// apart adds to edits what keeps a Traefik's objects apart from those of another that is asked at the same time.
func (s *session) apart(edits [][2]string) [][2]string {
	if s.setUp.name != "traefik" {
		return edits
	}
	own := fmt.Sprintf("namespace: warehouse-%d\n", s.namespaces.Add(1))
	return append(slices.Clone(edits), [2]string{"namespace: warehouse\n", own})
}

// respond is what the upstream answers.
func respond(r *proxies.Received) string {
	if slices.Contains(r.Values("upgrade"), "websocket") {
		return head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket",
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
	}
	return head("HTTP/1.1 200 OK", "Content-Length: 0", "X-Upstream: yes")
}

// fault notes what must not be.
func (s *session) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

// eventuallyPasses waits until a request passes that may.
func (s *session) eventuallyPasses() {
	s.t.Helper()
	program.WaitUntil(s.t, timeout, s.setUp.name+" lets a request pass", func() error {
		if a := s.ask(s.request("GET", "/api/products", "reader")); !a.passed() {
			return fmt.Errorf("status %d", a.status)
		}
		return nil
	})
}

// identity returns the headers of the environment's keys that the upstream is told, in lower case.
func (k key) identity() map[string]string {
	return map[string]string{
		"x-api-key-id": k.id, "x-api-key-name": k.name, "x-api-key-scopes": k.scopes, "x-api-key-tenant": k.tenant,
	}
}

// checkUpstream checks what holds for every request that reaches the upstream.
func (s *session) checkUpstream(r *proxies.Received) {
	if r.Broken != "" {
		s.fault("a request can be taken apart in more than one way: %s", r.Broken)
	}
	if !s.isTrue(r) {
		s.fault("the upstream is told an identity that is nobody's: %q %q %q %q", r.Values("x-api-key-id"),
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
			s.fault("the upstream is told an address that the client made up: %q", address)
		}
	}
	if host := strings.ToLower(r.Host()); r.Site != nil && !r.Site.Serves(strings.Split(host, ":")[0]) {
		s.fault("a request for %s reaches the upstream of %s", host, r.Site.Name)
	}
}

// isTrue reports whether the upstream is told of a key, by all headers, or of none by any.
func (s *session) isTrue(r *proxies.Received) bool {
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

// overriding returns the headers of a request that would have a framework read another method, path, host or scheme.
// What a proxy itself says of them is true.
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

// is200 reports a fault if a request that may pass does not.
func (s *session) mustPass(what string, a answer) {
	if !a.passed() {
		s.fault("%s does not pass: status %d %s", what, a.status, a.body)
	}
}

// mustNotPass reports a fault if a request reaches the upstream that may not.
func (s *session) mustNotPass(what string, a answer) {
	if a.status != 0 && a.status < http.StatusBadRequest && a.status/100 != 3 || len(a.upstream) > 0 {
		s.fault("%s passes: status %d, %d requests reach the upstream", what, a.status, len(a.upstream))
	}
}

// after returns how long something took as a cell has it. A busy machine makes things slower, never faster: the time is
// rounded down to one that proxies are set to wait.
func after(took time.Duration) string {
	for _, step := range []int{60, 30, 10, 5, 2, 1} {
		if took >= time.Duration(step)*time.Second*95/100 {
			return fmt.Sprintf("after %d s", step)
		}
	}
	return "at once"
}
