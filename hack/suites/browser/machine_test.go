package browser_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// trap is what another account of the machine serves at a port of its own: a page that attacks the settings page at
// another port of the same address, and a record of everything that browsers send to it.
type trap struct {
	*httptest.Server
	mu   sync.Mutex
	sent []http.Header
}

// trapPage requests data, tries a change, opens the page in a window, and shows the results. Its title says when it is
// done.
const trapPage = `<!doctype html><meta charset="utf-8"><title>at it</title><link rel="icon" href="data:,"><body><script>
const page = %q;
(async () => {
	const came = [];
	const tell = (what, text) => came.push(what + ": " + text);
	for (const credentials of ["include", "omit"]) {
		await fetch(page + "/api/user", {credentials}).then(async (a) => tell("read", await a.text()), () => tell("read",
		  "nothing"));
		await fetch(page + "/api/namespaces/warehouse/keys/storefront/revoke", {method: "POST", mode: "no-cors", credentials,
		  body: "{}"}).then(() => 0, () => 0);
	}
	const image = new Image();
	await new Promise((done) => { image.onload = image.onerror = done; image.src = page + "/assets/icon.svg"; });
	const frame = document.createElement("iframe");
	await new Promise((done) =>
	  { frame.onload = done; frame.src = page + "/namespaces/warehouse"; document.body.append(frame); setTimeout(done,
	    3000); });
	try { tell("frame", frame.contentDocument.body.textContent) } catch { tell("frame", "nothing") }
	try { tell("storage", Object.values(sessionStorage).join() + Object.values(localStorage)
	  .join()) } catch { tell("storage", "nothing") }
	new BroadcastChannel("apikey-session").postMessage({wanted: true});
	document.body.textContent = came.join("\n");
	document.title = "done";
})();
</script></body>`

func newTrap(t *testing.T, page string) *trap {
	t.Helper()
	attacker := &trap{}
	attacker.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		attacker.mu.Lock()
		defer attacker.mu.Unlock()
		attacker.sent = append(attacker.sent, r.Header.Clone())
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, trapPage, page)
	}))
	t.Cleanup(attacker.Close)
	return attacker
}

// sharesTheMachine checks that another account of the machine, which serves a page at another port of 127.0.0.1, gains
// nothing when a user with the settings page open visits it. It fails if the settings page uses a cookie: browsers send
// cookies to every port of an address, and whoever has it is signed in.
func (e *environment) sharesTheMachine(t *testing.T) {
	kubeconfig, _ := e.pluginKubeconfig(t, e.alice)
	own, ui, start := e.startsOwn(t, kubeconfig)
	s := own.open(t, wide, light)
	s.enters(start)
	s.row("storefront", "Active")

	attacker := newTrap(t, own.url)
	victim := own.openIn(t, s.browser, wide, light)
	victim.expected = append(victim.expected, "network:", "javascript:", "security:", "console:", "recommendation:",
		"other:", "content security policy:")
	victim.goes(attacker.URL)
	victim.wait("the other page to have tried", func() error {
		if title := victim.eval(`() => document.title`).Str(); title != "done" {
			return fmt.Errorf("it is %q", title)
		}
		return nil
	})
	if came := strings.Join(strings.Fields(victim.text()),
		" "); came != "read: nothing read: nothing frame: nothing storage:" {
		t.Errorf("the other page has come to %q", came)
	}
	victim.hasNoCookies()
	own.refusesWhatWasSent(t, attacker)
	s.row("storefront", "Active")

	// The same browser may open the page in a second tab, from any page. It is the user's own.
	victim.goes(own.url + "/namespaces/" + warehouse)
	victim.row("storefront", "Active")
	victim.reads("Signed in as " + e.alice.name)
	stranger := own.open(t, wide, light)
	stranger.open("/namespaces/" + warehouse)
	stranger.find("heading", "This page is somebody else's")
	e.evidence.keep("what kubectl apikey ui has printed", ui.Log())
}

// goes goes to another site.
func (s *browserSession) goes(url string) {
	s.t.Helper()
	if err := s.page.Navigate(url); err != nil {
		s.t.Fatal(err)
	}
}

// refusesWhatWasSent sends the page everything that a browser has sent to another port.
func (e *environment) refusesWhatWasSent(t *testing.T, attacker *trap) {
	t.Helper()
	attacker.mu.Lock()
	defer attacker.mu.Unlock()
	if len(attacker.sent) == 0 {
		t.Error("the browser has sent nothing: what is there to try?")
	}
	for _, sent := range attacker.sent {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url+"/api/user", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range sent {
			if name != "Sec-Fetch-Site" && name != "Sec-Fetch-Mode" && name != "Sec-Fetch-Dest" && name != "Accept-Encoding" {
				request.Header[name] = values
			}
		}
		got, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(got.Body)
		_ = got.Body.Close()
		if got.StatusCode != http.StatusUnauthorized || len(sent["Cookie"]) > 0 {
			t.Errorf("with what another port was sent (%d cookies), the page answers %d: %s", len(sent["Cookie"]),
				got.StatusCode, body)
		}
	}
}
