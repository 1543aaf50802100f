package browser_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/go-rod/rod/lib/proto"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// views uses the page as a user who may only view: there is nothing to change, neither here nor in a key's details.
func (e *environment) views(t *testing.T) {
	s := e.openSignedIn(t, e.victor, warehouse)
	s.row("storefront", "Storefront", "Active")
	s.state("viewer")
	s.hasNone("Generate New Key", "Revoke Storefront")
	s.details("Storefront")
	s.find("heading", "Conditions")
	s.hasNone("Rotate", "Suspend", "Resume", "Revoke")
	s.state("viewer-details")
	// The page is not the protection: the API server refuses a request that is made by hand.
	if status := s.post("keys/storefront/suspend", `{}`); status != http.StatusForbidden {
		t.Errorf("suspending by hand: %d", status)
	}
	if status := s.post("keys",
		`{"displayName":"By hand","name":"by-hand","scopes":["products:read"]}`); status != http.StatusForbidden {
		t.Errorf("creating by hand: %d", status)
	}
	s.expected = append(s.expected, "network: Failed to load resource: the server responded with a status of 403")
	if state := e.key(t, warehouse, "storefront").Spec.State; state != keysv1alpha1.ApiKeyActive {
		t.Errorf("it is %s", state)
	}
}

// hasNone checks that some buttons are missing.
func (s *browserSession) hasNone(buttons ...string) {
	s.t.Helper()
	for _, name := range buttons {
		if s.has("button", name) {
			s.t.Errorf("there is a button %s", name)
		}
	}
}

// post sends a request as the page's script would, and returns the status, or that of a problem in the response.
func (s *browserSession) post(path, body string) int {
	s.t.Helper()
	answer := s.eval(`async (path, body) => {
		const answer = await fetch("/api/namespaces/warehouse/" + path, {method: "POST", body,
			headers: {"Content-Type": "application/json", "X-CSRF-Token": document.querySelector("meta[name=csrf-token]")
			  .content}});
		return {status: answer.status, text: await answer.text()};
	}`, path, body)
	s.e.evidence.keep("the answers to requests by hand", answer.Get("text").Str())
	return answer.Get("status").Int()
}

// edits uses the page as a user who may take away but not grant.
func (e *environment) edits(t *testing.T) {
	s := e.openSignedIn(t, e.edward, warehouse)
	s.row("storefront", "Storefront", "Active")
	s.find("button", "Revoke Storefront")
	s.hasNone("Generate New Key")
	s.details("Storefront")
	s.find("button", "Suspend")
	s.state("editor-details")
}

// staysOut uses the page as another tenant's administrator: their own keys are there, Acme's are not.
func (e *environment) staysOut(t *testing.T) {
	s := e.openSignedIn(t, e.gloria, sandbox)
	s.reads("Globex GmbH", "1 of 5")
	s.row("nightly-analytics", "Nightly Analytics")
	s.state("another-tenant")
	s.expected = append(s.expected, "network: Failed to load resource: the server responded with a status of 403")
	s.open("/namespaces/" + warehouse)
	s.find("heading", "You may not list keys in namespace "+warehouse)
	s.hasNone("Generate New Key")
	for _, secret := range []string{"Storefront", "Warehouse Integration",
		e.key(t, warehouse, "storefront").Status.Prefix} {
		source, err := s.page.HTML()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(source, secret) {
			t.Errorf("%s is in the page", secret)
		}
	}
	if status := s.eval(`async () => (await fetch("/api/namespaces/warehouse/keys/storefront"))
	  .status`).Int(); status != http.StatusForbidden {
		t.Errorf("asking by hand: %d", status)
	}
}

// isEmpty checks a namespace without keys.
func (e *environment) isEmpty(t *testing.T) {
	namespace := fixture.Name("empty")
	if err := e.Client.Create(t.Context(), fixture.Namespace(namespace, "none")); err != nil {
		t.Fatal(err)
	}
	e.kubectl(t, "label", "namespace", namespace, "nexuscommerce.io/tenant=acme", "--overwrite")
	e.kubectl(t, "create", "rolebinding", "-n", namespace, "administrators", "--clusterrole=admin", "--user="+e.alice.name)
	s := e.openSignedIn(t, e.alice, namespace)
	s.find("heading", "No keys yet")
	s.find("button", "Generate New Key")
	s.state("empty")
}

// refusesForgeries requests changes as another site would that a signed-in user visits.
func (e *environment) refusesForgeries(t *testing.T) {
	s := e.openSignedIn(t, e.alice, warehouse)
	s.row("storefront", "Active")
	nonce := s.eval(`() => document.querySelector("meta[name=csrf-token]").content`).Str()
	cookies, err := proto.StorageGetCookies{BrowserContextID: s.browser.BrowserContextID}.Call(s.browser)
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(e.url)
	if err != nil {
		t.Fatal(err)
	}
	var all []*http.Cookie
	for _, cookie := range cookies.Cookies {
		all = append(all, &http.Cookie{Name: cookie.Name, Value: cookie.Value, Path: "/", Secure: true})
	}
	jar.SetCookies(address, all)
	forger := &http.Client{Jar: jar, Transport: e.gateway.Client().Transport.(*http.Transport).Clone()}
	defer forger.CloseIdleConnections()
	json := http.Header{"Content-Type": {"application/json"}, "X-Csrf-Token": {nonce}, "Origin": {e.url},
		"Sec-Fetch-Site": {"same-origin"}}
	with := func(name, value string) http.Header {
		h := json.Clone()
		h.Del(name)
		if value != "" {
			h.Set(name, value)
		}
		return h
	}
	for name, header := range map[string]http.Header{
		"without a nonce":      with("X-Csrf-Token", ""),
		"with another's nonce": with("X-Csrf-Token", strings.Repeat("A", len(nonce))),
		"from another origin": {"Content-Type": {"application/json"}, "X-Csrf-Token": {nonce},
			"Origin": {"https://evil.example"}},
		"as the browser says": with("Sec-Fetch-Site", "cross-site"),
	} {
		if status := ask(t, forger, e.url+"/api/namespaces/warehouse/keys/storefront/suspend", header); status < 400 ||
			status >= 500 {
			t.Errorf("%s: %d", name, status)
		}
	}
	if state := e.key(t, warehouse, "storefront").Spec.State; state != keysv1alpha1.ApiKeyActive {
		t.Fatalf("it is %s", state)
	}
	stranger := &http.Client{Transport: forger.Transport}
	if status := ask(t, stranger, e.url+"/api/namespaces/warehouse/keys/storefront/suspend",
		json); status != http.StatusUnauthorized && status != http.StatusForbidden {
		t.Errorf("without a session: %d", status)
	}
	// The same request as the page makes it succeeds, so those above were refused for the right reason.
	if status := ask(t, forger, e.url+"/api/namespaces/warehouse/keys/storefront/suspend", json); status != http.StatusOK {
		t.Errorf("as the page does: %d", status)
	}
	s.row("storefront", "Suspended")
	e.kubectl(t, "patch", "apikey", "-n", warehouse, "storefront", "--type=merge", "-p", `{"spec":{"state":"Active"}}`)
	s.row("storefront", "Active")
}

// ask posts an empty object, and returns the status. It reads the response to its end, because progress is streamed.
func ask(t *testing.T, c *http.Client, address string, header http.Header) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	got, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if _, err := io.Copy(io.Discard, got.Body); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", address, err))
	}
	return got.StatusCode
}
