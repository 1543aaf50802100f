// Package identify is a double for the decisions behind the surfaces that identify a token's key, and asks such a
// surface.
package identify

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	// Tenant is the ID of the tenant of Active's key.
	Tenant = "3714240b-2e06-4c35-8856-ccc1c096323e"
	// Guess is a text that somebody sends as a token. No answer may contain it.
	Guess = "not-a-token-but-a-secret"
)

// Decider gives the answers that it was set up with, and records the questions.
type Decider struct {
	Decision verify.Decision

	Asked          bool
	Surface, Token string
	Tenant         *index.TenantID
	Client         netip.Addr
}

// Identify records a question and returns the decision.
func (d *Decider) Identify(surface, bearer string, tenant *index.TenantID, client netip.Addr) verify.Decision {
	d.Asked, d.Surface, d.Token, d.Tenant, d.Client = true, surface, bearer, tenant, client
	return d.Decision
}

// CheckAsked checks that a surface has asked about Guess, for no tenant and from no known address.
func (d *Decider) CheckAsked(t *testing.T, surface string) {
	t.Helper()
	if d.Surface != surface || d.Token != Guess || d.Tenant != nil || d.Client.IsValid() {
		t.Errorf("asked about %q for %v from %v as %s", d.Token, d.Tenant, d.Client, d.Surface)
	}
}

// Active is the decision about the token of a key that works.
func Active() verify.Decision {
	return verify.Decision{Outcome: verify.Allow, Reason: verify.ReasonAllowed, TenantID: Tenant, Grant: index.Grant{
		CredentialID: "7Hk2PqZx", Name: "warehouse/storefront", ScopesHeader: "products:read orders:*",
	}}
}

// Post sends a body of some type to a surface, and checks that the answer is JSON that must not be cached.
func Post(t *testing.T, surface http.Handler, mediaType, body string,
	change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", mediaType)
	for _, change := range change {
		change(r)
	}
	w := httptest.NewRecorder()
	surface.ServeHTTP(w, r)
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", w.Header())
	}
	return w
}
