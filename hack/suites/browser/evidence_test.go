package browser_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-rod/rod/lib/proto"
)

// evidence has what was left in places where no token may be, and the tokens to search for.
type evidence struct {
	mu       sync.Mutex
	canaries map[string]string
	places   map[string]string
}

// canary adds a token to search for.
func (e *evidence) canary(name, token string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.canaries == nil {
		e.canaries = map[string]string{}
	}
	e.canaries[name] = token
}

// keep adds the content of a place to what was there before under that name.
func (e *evidence) keep(place, content string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.places == nil {
		e.places = map[string]string{}
	}
	e.places[place] += content + "\n"
}

// leaks returns which tokens, or halves of them, are in which places, in any encoding.
func (e *evidence) leaks() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []string
	for name, token := range e.canaries {
		for place, content := range e.places {
			for encoding, form := range forms(token) {
				if strings.Contains(content, form) {
					found = append(found, fmt.Sprintf("%s is in %s, in %s", name, place, encoding))
				}
			}
		}
	}
	return found
}

// forms returns the ways in which a token could appear. The middle third of it is enough: its beginning and end may be
// cut off.
func forms(token string) map[string]string {
	part := token[len(token)/3 : 2*len(token)/3]
	all := map[string]string{"plain text": part, "hexadecimal": hex.EncodeToString([]byte(part))}
	for offset := range 3 {
		padded := base64.StdEncoding.EncodeToString(append(bytes.Repeat([]byte{0}, offset), part...))
		all[fmt.Sprintf("base64 at offset %d", offset)] = padded[4 : len(padded)-4]
	}
	return all
}

// keepTraces keeps what a visit has left in the browser and what it has requested, except for the requests and
// responses whose purpose is to carry a token.
func (s *browserSession) keepTraces() {
	s.t.Helper()
	visit := "the visit of " + s.t.Name()
	s.record.mu.Lock()
	for _, address := range s.record.urls {
		if !strings.HasPrefix(address, "data:") {
			plain, _ := url.QueryUnescape(address) // If it can't be decoded, it is searched as it is.
			s.e.evidence.keep("the URLs of "+visit, address+" "+plain)
		}
	}
	s.e.evidence.keep("the headers of requests of "+visit, strings.Join(s.record.requests, "\n"))
	s.e.evidence.keep("the browser's console in "+visit, strings.Join(s.record.complains, "\n"))
	s.record.mu.Unlock()

	page := s.page.Context(s.e.ctx) // The test's own context has ended.
	cookies, err := proto.StorageGetCookies{BrowserContextID: s.browser.BrowserContextID}.Call(s.browser.Context(s.e.ctx))
	if err != nil {
		s.t.Errorf("reading cookies: %v", err)
		return
	}
	for _, cookie := range cookies.Cookies {
		s.e.evidence.keep("the cookies of "+visit, cookie.Name+"="+cookie.Value)
	}
	kept, err := page.Timeout(timeout).Eval(`async () => {
		const all = {local: {...localStorage}, session: {...sessionStorage}, caches: await caches.keys(),
		  databases: await indexedDB.databases(),
			workers: (await navigator.serviceWorker.getRegistrations()).length, name: window.name, history: history.state,
			  referrer: document.referrer};
		return all;
	}`)
	if err != nil {
		s.t.Errorf("reading the browser's storage: %v", err)
		return
	}
	text, _ := json.Marshal(kept.Value) // It came as JSON.
	s.e.evidence.keep("the browser's storage in "+visit, string(text))
}

// checkEvidence searches for the tokens in everything that was left (S2).
func (e *environment) checkEvidence(t *testing.T) {
	for name, process := range map[string]interface{ Log() string }{"the console": e.console,
		"the controller": e.Controller, "the verifier": e.Verifier} {
		if process.Log() == "" {
			t.Errorf("%s has logged nothing: what is there to look through?", name)
		}
		e.evidence.keep(name+"'s log", process.Log())
	}
	for _, process := range e.watch.Seen() {
		e.evidence.keep("what process "+process.Name+" was started with", process.Line+process.Environment)
	}
	files := 0
	err := filepath.WalkDir(e.chromium.profile, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil //nolint:nilerr // The browser is about to end, and cleans up.
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil //nolint:nilerr // As above.
		}
		files++
		e.evidence.keep("the browser's files", string(content))
		return nil
	})
	if err != nil || files < 10 {
		t.Errorf("%d files of the browser's: %v", files, err)
	}
	if len(e.evidence.canaries) < 10 || len(e.evidence.places) < 50 {
		t.Errorf("only %d tokens and %d places", len(e.evidence.canaries), len(e.evidence.places))
	}
	for _, leak := range e.evidence.leaks() {
		t.Error(leak)
	}
}

// TestEvidence plants a token in every form, and finds each.
func TestEvidence(t *testing.T) {
	const token = "nxc_live_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTU"
	for name, content := range map[string]string{
		"as it is": "Bearer " + token, "cut": token[10:50], "in hexadecimal": hex.EncodeToString([]byte(token)),
		"in base64":           base64.StdEncoding.EncodeToString([]byte(token)),
		"in a line of base64": base64.RawURLEncoding.EncodeToString([]byte("a: " + token)),
		"in JSON of base64":   base64.StdEncoding.EncodeToString([]byte(`{"token":"` + token + `"}`)),
	} {
		e := &evidence{}
		e.canary("it", token)
		e.keep("a place", "nothing")
		if leaks := e.leaks(); len(leaks) != 0 {
			t.Errorf("%s: found where nothing is: %q", name, leaks)
		}
		e.keep("a place", content)
		if leaks := e.leaks(); len(leaks) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}
