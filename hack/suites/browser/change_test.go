package browser_test

import (
	"net/http"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// details opens a key's details.
func (s *browserSession) details(displayName string) {
	s.t.Helper()
	s.click("button", displayName)
	s.find("dialog", displayName)
}

// suspends suspends a key and resumes it.
func (e *environment) suspends(t *testing.T) {
	token := e.token(t, warehouse, "storefront")
	e.calls(t, token, acmeID, http.MethodGet, "/api/products", http.StatusOK)
	s := e.openSignedIn(t, e.alice, warehouse)
	s.details("Storefront")
	s.click("button", "Suspend")
	s.find("dialog", "Suspend Storefront?")
	s.state("suspend")
	s.click("button", "Suspend key")
	s.row("storefront", "Suspended")
	e.calls(t, token, acmeID, http.MethodGet, "/api/products", http.StatusUnauthorized)
	s.state("suspended")
	s.closeAll()

	s.details("Storefront")
	s.click("button", "Resume")
	s.find("dialog", "Resume Storefront?")
	s.click("button", "Resume key")
	s.row("storefront", "Active")
	e.calls(t, token, acmeID, http.MethodGet, "/api/products", http.StatusOK)
}

// closeAll closes all dialogs, as Escape does.
func (s *browserSession) closeAll() {
	s.t.Helper()
	for range 5 {
		if s.eval(`() => document.querySelectorAll("dialog[open]").length`).Int() == 0 {
			return
		}
		s.escape()
	}
	s.t.Error("Escape leaves a dialog open")
}

// rotates rotates a key: the new token is shown once, and the old one works during its overlap.
func (e *environment) rotates(t *testing.T) {
	old := e.token(t, warehouse, "warehouse-integration")
	s := e.openSignedIn(t, e.alice, warehouse)
	s.details("Warehouse Integration")
	s.click("button", "Rotate")
	s.find("dialog", "Rotate Warehouse Integration?")
	s.state("rotate")
	s.click("button", "Rotate key")
	s.find("heading", "Copy your new token now")
	token := s.shown("the token that the page has shown after a rotation")
	s.screenshot("rotated")
	s.checkBarriers("rotated")
	s.copied("Copy token") // Otherwise Done would ask again.
	if token == old {
		t.Error("it is the same token")
	}
	e.calls(t, token, acmeID, http.MethodGet, "/api/inventory", http.StatusOK)
	s.click("button", "Done")
	s.gone("dialog", "Copy your new token now")
	s.keepSource("after a rotation")
	if key := e.key(t, warehouse, "warehouse-integration"); len(key.Status.Credentials) == 0 ||
		key.Status.LastHandledRotateAt == "" {
		t.Errorf("it was not rotated: %+v", key.Status)
	}
}

// revokes revokes a key, after a question that names it and its last use, and waits until every verifier refuses it.
func (e *environment) revokes(t *testing.T) {
	token := e.token(t, warehouse, "order-desk")
	e.calls(t, token, acmeID, http.MethodGet, "/api/orders", http.StatusOK)
	used := e.usedKey(t, "order-desk")
	s := e.openSignedIn(t, e.alice, warehouse)
	s.click("button", "Revoke Order Desk")
	s.find("dialog", "Revoke Order Desk?")
	s.reads(used.Status.Prefix, "ast used")
	s.state("revoke")
	s.click("button", "Cancel")
	s.gone("dialog", "Revoke Order Desk?")
	if state := e.key(t, warehouse, "order-desk").Spec.State; state != keysv1alpha1.ApiKeyActive {
		t.Fatalf("it is %s although nobody has said yes", state)
	}

	s.click("button", "Revoke Order Desk")
	s.click("button", "Revoke key")
	s.find("dialog", "Order Desk is revoked")
	s.reads("No verifier accepts")
	if got := e.call(t, token, acmeID, http.MethodGet, "/api/orders"); got != http.StatusUnauthorized {
		t.Errorf("the page says that no verifier accepts it, and the answer is %d", got)
	}
	s.state("revoked")
	s.click("button", "Close")
	s.row("order-desk", "Revoked")
	s.gone("button", "Revoke Order Desk")
	s.keepSource("after a revocation")
}

// usedKey waits until a key's last use is recorded.
func (e *environment) usedKey(t *testing.T, name string) *keysv1alpha1.ApiKey {
	t.Helper()
	var key *keysv1alpha1.ApiKey
	e.until(t, "the last use of "+name, func() bool {
		key = e.key(t, warehouse, name)
		return key.Status.LastUsedTime != nil
	})
	return key
}

// until waits for something that a verifier or the controller does.
func (e *environment) until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s", what, timeout)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// explains reads the explanation in a key's details, of a key that works and of one that does not.
func (e *environment) explains(t *testing.T) {
	e.apply(t, `{apiVersion: keys.nexuscommerce.io/v1alpha1, kind: ApiKey, metadata: {namespace: warehouse,
	  name: mistaken},
		spec: {displayName: Mistaken, scopes: ["product:read"]}}`)
	e.await(t, warehouse, "mistaken", keysv1alpha1.ConditionStalled)
	s := e.openSignedIn(t, e.alice, warehouse)
	s.row("mistaken", "Failed")
	s.details("Mistaken")
	for _, heading := range []string{"Conditions", "Events", "Tokens", "YAML for Git"} {
		s.find("heading", heading)
	}
	s.reads("product:read", "products:read") // What is wrong, and what was probably meant.
	s.state("details-failed")
	s.click("button", "Close")

	s.details("Warehouse Integration")
	s.find("heading", "Events")
	s.reads("inventory:read")
	s.state("details")
	s.click("button", "Close")
	s.gone("dialog", "Warehouse Integration")

	// A link leads there too. The details of a deleted key are requested once more.
	s.expected = append(s.expected, "network: Failed to load resource: the server responded with a status of 404")
	s.open("/namespaces/" + warehouse + "/keys/mistaken")
	s.find("dialog", "Mistaken")
	e.kubectl(t, "delete", "apikey", "-n", warehouse, "mistaken")
	s.wait("the key's row to go", func() error { return s.rowIsGone("mistaken") })
}
