package browser_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-rod/rod/lib/proto"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// signsIn signs in with a wrong token and with a right one, and signs out.
func (e *environment) signsIn(t *testing.T) {
	s := e.open(t, wide, light)
	s.open("/")
	s.find("heading", "Sign in")
	s.state("sign-in")

	s.expected = append(s.expected, "network: Failed to load resource: the server responded with a status of 401")
	wrong := "no-" + strings.Repeat("such", 8) + "-token"
	e.evidence.canary("a wrong bearer token", wrong)
	s.fill("textbox", "Bearer token", wrong)
	s.fill("textbox", "Namespace", warehouse)
	s.click("button", "Sign in")
	s.wait("a word about the token", func() error {
		alerts, err := s.page.Elements("[role=alert]")
		if err != nil || len(alerts) == 0 {
			return fmt.Errorf("there is no alert: %w", err)
		}
		return nil
	})
	s.state("sign-in-refused")

	s.signIn(e.alice, warehouse)
	s.reads("Signed in as " + e.alice.name)
	s.checkCookies()
	s.keepSource("signed in")
	s.click("button", "Sign out")
	s.find("heading", "Sign in")
	s.open("/namespaces/" + warehouse)
	s.find("heading", "Sign in")
}

// checkCookies checks that a session's cookie is unavailable to scripts, to plain HTTP and to other sites, and that
// nothing can be read from it.
func (s *browserSession) checkCookies() {
	s.t.Helper()
	cookies, err := proto.StorageGetCookies{BrowserContextID: s.browser.BrowserContextID}.Call(s.browser)
	if err != nil {
		s.t.Fatal(err)
	}
	sessions := 0
	for _, cookie := range cookies.Cookies {
		if !cookie.HTTPOnly || !cookie.Secure || cookie.SameSite != proto.NetworkCookieSameSiteStrict || cookie.Path != "/" ||
			!strings.HasPrefix(cookie.Name, "__Host-") || strings.HasPrefix(cookie.Domain, ".") {
			s.t.Errorf("cookie %s: HttpOnly %t, Secure %t, SameSite %s, path %s, domain %s",
				cookie.Name, cookie.HTTPOnly, cookie.Secure, cookie.SameSite, cookie.Path, cookie.Domain)
		}
		if strings.HasPrefix(cookie.Name, "__Host-apikey-session") {
			sessions++
		}
		s.e.evidence.keep("the cookies of a session", cookie.Value)
	}
	if sessions == 0 {
		s.t.Errorf("no session's cookie among %d", len(cookies.Cookies))
	}
	if seen := s.eval(`() => document.cookie`).Str(); seen != "" {
		s.t.Errorf("scripts see cookies")
	}
}

// expires ends the account of the signed-in user: the API server no longer knows the token.
func (e *environment) expires(t *testing.T) {
	token := strings.TrimSpace(install.Kubectl(t, e.ControlPlane, "create", "token", "-n", warehouse, "erin"))
	e.evidence.canary("erin's bearer token", token)
	s := e.openSignedIn(t, person{"system:serviceaccount:warehouse:erin", token}, warehouse)
	s.row("storefront", "Storefront")
	s.expected = append(s.expected, "network: Failed to load resource: the server responded with a status of 401")
	e.kubectl(t, "delete", "serviceaccount", "-n", warehouse, "erin")
	e.until(t, "the API server to forget the token, which it remembers for some seconds", func() bool {
		return !e.knows(t, token)
	})
	s.open("/namespaces/" + warehouse)
	s.find("heading", "Sign in")
	s.reads("Your session has ended. Sign in again to go on where you were.")
	s.state("session-ended")

	s.fill("textbox", "Bearer token", e.victor.token)
	s.click("button", "Sign in")
	s.row("storefront", "Storefront") // The page that she was on.
}

// knows reports whether the API server knows a token.
func (e *environment) knows(t *testing.T, token string) bool {
	t.Helper()
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	if err := e.Client.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Authenticated
}

// mayNothing signs in a user whom the API server knows, and who has no rights.
func (e *environment) mayNothing(t *testing.T) {
	s := e.open(t, wide, light)
	s.expected = append(s.expected, "network: Failed to load resource: the server responded with a status of 403")
	s.signIn(e.nobody, warehouse)
	s.find("heading", "You may not list keys in namespace "+warehouse)
	s.state("no-permission")
	for _, button := range []string{"Generate New Key"} {
		if s.has("button", button) {
			t.Errorf("there is a button %s", button)
		}
	}
	if names := s.names(); len(names) != 0 {
		t.Errorf("keys are shown: %q", names)
	}
}
