package browser_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-rod/rod/lib/input"
	"github.com/ysmood/gson"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// eval runs a script in the page, and returns its result.
func (s *browserSession) eval(script string, args ...any) gson.JSON {
	s.t.Helper()
	result, err := s.page.Timeout(timeout).Eval(script, args...)
	if err != nil {
		s.t.Fatalf("%s: %v", script, err)
	}
	return result.Value
}

// escape presses Escape.
func (s *browserSession) escape() { s.press(input.Escape) }

// tabTo presses Tab until the element with a name has the focus, and checks that the focus is visible.
func (s *browserSession) tabTo(name string) {
	s.t.Helper()
	var passed []string
	for range 100 {
		s.press(input.Tab)
		// The name comes from a label or, without one, from the element's text.
		focused := s.eval(`() => {
			const e = document.activeElement;
			return e && e !== document.body ? [e.ariaLabel, e.innerText, e.labels?.[0]?.innerText].map(text => (text ?? "")
			  .trim()) : [];
		}`)
		for _, text := range focused.Arr() {
			if text.Str() == name {
				s.seesFocus(name)
				return
			}
		}
		passed = append(passed, focused.JSON("", ""))
	}
	s.t.Fatalf("Tab does not lead to %q, only to %q", name, withoutTokens(strings.Join(passed, " ")))
}

// enter moves the focus to an element with Tab, and presses Enter.
func (s *browserSession) enter(name string) {
	s.t.Helper()
	s.tabTo(name)
	s.press(input.Enter)
}

// focused returns the label of the element with the focus or, without one, its text.
func (s *browserSession) focused() string {
	s.t.Helper()
	return s.eval(`() => (document.activeElement?.labels?.[0] ?? document.activeElement)?.innerText ?? ""`).Str()
}

// seesFocus checks that an element looks different with the focus.
func (s *browserSession) seesFocus(name string) {
	s.t.Helper()
	if !s.eval(`() => {
		const style = getComputedStyle(document.activeElement);
		return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none";
	}`).Bool() {
		s.t.Errorf("%q does not show that it has the focus", name)
	}
}

// keyboard creates and revokes a key with Tab, Enter, Space and Escape alone.
func (e *environment) keyboard(t *testing.T) {
	s := e.open(t, wide, light)
	s.open("/login")
	if focused := s.focused(); focused != "Bearer token" {
		s.tabTo("Bearer token")
	}
	s.types(e.alice.token)
	s.tabTo("Namespace")
	s.eval(`() => document.activeElement.select()`)
	s.types(warehouse)
	s.press(input.Enter)
	s.find("heading", "API Keys")
	s.row("storefront", "Active")

	s.tabTo("Generate New Key")
	s.screenshot("focus")
	s.press(input.Enter)
	s.find("dialog", "Generate New Key")
	s.escape()
	s.gone("dialog", "Generate New Key")
	if focused := s.focused(); focused != "Generate New Key" {
		t.Errorf("after Escape the focus is on %q", focused)
	}
	s.press(input.Enter)
	s.find("dialog", "Generate New Key")
	s.wait("the focus on the name", func() error {
		if focused := s.focused(); !strings.HasPrefix(focused, "Display name") {
			return fmt.Errorf("it is on %q", focused)
		}
		return nil
	})
	s.types("By Keyboard")
	s.find("checkbox", "products:read")
	s.tabTo("products:read")
	s.press(input.Space)
	s.staysWithin("Generate New Key")
	s.enter("Generate key")
	s.find("dialog", "Copy your key now")
	token := s.shown("the token that was made by keyboard")
	if s.copies("Copy token", func() { s.press(input.Enter) }) != token { // The button that copies has the focus.
		t.Error("the clipboard has not the token")
	}
	s.enter("Done")
	s.row("by-keyboard", "Active")

	s.enter("Revoke By Keyboard")
	s.find("dialog", "Revoke By Keyboard?")
	if focused := s.focused(); focused == "Revoke key" {
		t.Error("Enter, pressed twice, revokes: the focus begins on the button that does")
	}
	s.enter("Revoke key")
	s.reads("No verifier accepts")
	s.enter("Close")
	s.row("by-keyboard", "Revoked")
	e.await(t, warehouse, "by-keyboard", keysv1alpha1.ConditionRevocationEffective)
	e.kubectl(t, "delete", "apikey", "-n", warehouse, "by-keyboard")
}

// staysWithin checks that Tab does not leave a dialog.
func (s *browserSession) staysWithin(dialog string) {
	s.t.Helper()
	for range 60 {
		s.press(input.Tab)
		if !s.eval(`() => {
			const e = document.activeElement;
			return !e || e === document.body || e.closest("dialog[open]") !== null;
		}`).Bool() {
			s.t.Fatalf("Tab leads out of the dialog %s", dialog)
		}
	}
}

// types types a text.
func (s *browserSession) types(text string) {
	s.t.Helper()
	if err := s.page.InsertText(text); err != nil {
		s.t.Fatal(err)
	}
}

// looks checks the page with system settings that people have: a dark scheme, and a narrow window.
func (e *environment) looks(t *testing.T) {
	for _, window := range []size{wide, narrow} {
		for _, looks := range []scheme{light, dark} {
			name := fmt.Sprintf("%d-%s", window.width, looks)
			s := e.open(t, window, looks)
			s.open("/login")
			s.fits(name)
			s.state("look-sign-in-" + name)
			s.signIn(e.alice, warehouse)
			s.row("storefront", "Active")
			s.fits(name)
			s.state("look-list-" + name)
			s.details("Warehouse Integration")
			s.find("heading", "Events")
			s.fits(name)
			s.state("look-details-" + name)
			s.closeAll()
			s.click("button", "Generate New Key")
			s.find("dialog", "Generate New Key")
			s.find("checkbox", "products:read")
			s.fits(name)
			s.state("look-generate-" + name)
			s.closeAll()
			s.click("button", "Revoke Warehouse Integration")
			s.find("dialog", "Revoke Warehouse Integration?")
			s.fits(name)
			s.state("look-revoke-" + name)
		}
	}
}

// fits checks that nobody has to scroll sideways to read.
func (s *browserSession) fits(name string) {
	s.t.Helper()
	if over := s.eval(`() =>
	  document.documentElement.scrollWidth - document.documentElement.clientWidth`).Int(); over > 0 {
		s.t.Errorf("%s: the page is %d pixels wider than the window", name, over)
	}
}
