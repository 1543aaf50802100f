package browser_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-rod/rod"
	"github.com/go-rod/rod/lib/input"
	"github.com/go-rod/rod/lib/proto"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// browserSession is one person's session in a browser, with cookies of its own.
type browserSession struct {
	t       *testing.T
	e       *environment
	browser *rod.Browser
	page    *rod.Page
	record  *record
	// expected has the beginnings of the browser's complaints that the test provokes.
	expected []string
}

// open opens a private window. What it has recorded is checked at the end of the test.
func (e *environment) open(t *testing.T, window size, looks scheme) *browserSession {
	t.Helper()
	browser, err := e.chromium.Incognito()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = browser.Close() })
	return e.openIn(t, browser, window, looks)
}

// openIn opens a window of a browser.
func (e *environment) openIn(t *testing.T, browser *rod.Browser, window size, looks scheme) *browserSession {
	t.Helper()
	page, err := browser.Page(proto.TargetCreateTarget{})
	if err != nil {
		t.Fatal(err)
	}
	s := &browserSession{t: t, e: e, browser: browser, page: page.Context(t.Context())}
	s.record = startRecord(s.page)
	t.Cleanup(s.leave)
	for _, setting := range []proto.Request{
		&proto.EmulationSetDeviceMetricsOverride{Width: window.width, Height: window.height, DeviceScaleFactor: 1},
		&proto.EmulationSetEmulatedMedia{Features: looks.features()},
		&proto.EmulationSetFocusEmulationEnabled{Enabled: true},
	} {
		if _, err := s.page.Call(t.Context(), string(s.page.SessionID), setting.ProtoReq(), setting); err != nil {
			t.Fatalf("%s: %v", setting.ProtoReq(), err)
		}
	}
	permit := proto.BrowserGrantPermissions{
		Origin: e.url, BrowserContextID: browser.BrowserContextID,
		Permissions: []proto.BrowserPermissionType{proto.BrowserPermissionTypeClipboardReadWrite,
			proto.BrowserPermissionTypeClipboardSanitizedWrite},
	}
	if err := permit.Call(browser); err != nil {
		t.Fatal(err)
	}
	return s
}

// open goes to a path of the console. If the page is just navigating elsewhere, it goes there afterwards.
func (s *browserSession) open(path string) {
	s.t.Helper()
	s.wait(path, func() error {
		err := s.page.Navigate(s.e.url + path)
		if _, ok := errors.AsType[*rod.NavigationError](err); err != nil && !ok {
			s.t.Fatalf("%s: %v", path, err)
		}
		return err
	})
	if err := s.page.WaitLoad(); err != nil {
		s.t.Fatalf("%s: %v", path, err)
	}
}

// signIn signs a person in, and waits for the keys of a namespace.
func (s *browserSession) signIn(who person, namespace string) {
	s.t.Helper()
	s.open("/login")
	s.fill("textbox", "Bearer token", who.token)
	s.fill("textbox", "Namespace", namespace)
	s.click("button", "Sign in")
	s.find("heading", "API Keys")
	s.settles()
}

// settles waits until the page no longer changes: a click may miss what still moves.
func (s *browserSession) settles() {
	s.t.Helper()
	s.wait("the page to be complete", func() error {
		if !s.eval(
			`() => !document.querySelector("[aria-busy=true]") &&
			  !document.getElementById("count")?.innerText.includes("Loading")`).Bool() {
			return fmt.Errorf("it still loads")
		}
		return nil
	})
}

// openSignedIn opens a window and signs a person in.
func (e *environment) openSignedIn(t *testing.T, who person, namespace string) *browserSession {
	t.Helper()
	s := e.open(t, wide, light)
	s.signIn(who, namespace)
	return s
}

// look returns the elements with a role and a name, as a screen reader announces them, visible or not.
func (s *browserSession) look(role, name string) ([]*rod.Element, error) {
	page := s.page.Timeout(timeout)
	// It starts from the document, not its body: below a dialog the body is hidden from everyone.
	document, err := proto.RuntimeEvaluate{Expression: "document"}.Call(page)
	if err != nil {
		return nil, err
	}
	found, err := proto.AccessibilityQueryAXTree{ObjectID: document.Result.ObjectID, AccessibleName: name,
		Role: role}.Call(page)
	if err != nil {
		return nil, err
	}
	var all []*rod.Element
	for _, node := range found.Nodes {
		if node.Ignored {
			continue
		}
		element, err := s.page.ElementFromNode(&proto.DOMNode{BackendNodeID: node.BackendDOMNodeID})
		if err != nil {
			return nil, err
		}
		if visible, err := element.Visible(); err == nil && visible {
			all = append(all, element)
		}
	}
	return all, nil
}

// find waits until there is exactly one element with a role and a name.
func (s *browserSession) find(role, name string) *rod.Element {
	s.t.Helper()
	var found []*rod.Element
	s.wait(role+" "+name, func() (err error) {
		if found, err = s.look(role, name); err == nil && len(found) != 1 {
			err = fmt.Errorf("there are %d", len(found))
		}
		return err
	})
	return found[0]
}

// gone waits until there is no such element.
func (s *browserSession) gone(role, name string) {
	s.t.Helper()
	s.wait("no "+role+" "+name, func() error {
		found, err := s.look(role, name)
		if err == nil && len(found) > 0 {
			err = fmt.Errorf("there are %d", len(found))
		}
		return err
	})
}

// has reports whether there is such an element now.
func (s *browserSession) has(role, name string) bool {
	s.t.Helper()
	found, err := s.look(role, name)
	if err != nil {
		s.t.Fatal(err)
	}
	return len(found) > 0
}

// wait polls a condition. If it times out, a screenshot shows what was there instead.
func (s *browserSession) wait(what string, condition func() error) {
	s.t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.screenshot("failed-" + strings.ReplaceAll(s.t.Name(), "/", "-"))
			s.t.Fatalf("%s: not after %s: %v\n%s", what, timeout, withoutTokens(err.Error()), withoutTokens(s.text()))
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-s.t.Context().Done():
			s.t.Fatal(s.t.Context().Err())
		}
	}
}

var tokenLike = regexp.MustCompile(`nxc_(live|test)_[0-9A-Za-z]{9,}`)

// withoutTokens returns a text that may be printed.
func withoutTokens(text string) string { return tokenLike.ReplaceAllString(text, "nxc_…") }

// click clicks on an element.
func (s *browserSession) click(role, name string) {
	s.t.Helper()
	s.clickOn(role+" "+name, func() (*rod.Element, error) {
		found, err := s.look(role, name)
		if err == nil && len(found) != 1 {
			err = fmt.Errorf("there are %d", len(found))
		}
		if err != nil {
			return nil, err
		}
		return found[0], nil
	})
}

// clickOn clicks on what a function finds. If the page redraws or moves it meanwhile, it is looked up again until the
// click hits it.
func (s *browserSession) clickOn(what string, find func() (*rod.Element, error)) {
	s.t.Helper()
	s.wait("a click on "+what, func() error {
		element, err := find()
		if err != nil {
			return err
		}
		element = element.Timeout(timeout)
		if err := element.WaitStableRAF(); err != nil {
			return err
		}
		if _, err := element.Eval(`() => {
			window.missed = true;
			this.addEventListener("click", () => { window.missed = false }, {capture: true, once: true});
		}`); err != nil {
			return err
		}
		if err := element.Click(proto.InputMouseButtonLeft, 1); err != nil {
			return err
		}
		if missed, err := s.page.Timeout(timeout).Eval(`() => window.missed === true`); err == nil && missed.Value.Bool() {
			return fmt.Errorf("it was missed")
		}
		return nil // The click has left the page, so it can't be asked any more.
	})
}

// copies presses a button that copies, and returns what is in the clipboard then. The button shows for two seconds that
// it has copied, and is made to record that.
func (s *browserSession) copies(button string, press func()) string {
	s.t.Helper()
	if _, err := s.find("button", button).Eval(`() => {
		window.copied = false;
		new MutationObserver(() => { window.copied ||= this.textContent === "Copied" }).observe(this, {childList: true});
	}`); err != nil {
		s.t.Fatalf("%s: %v", button, err)
	}
	press()
	s.wait(button, func() error {
		if !s.eval(`() => window.copied`).Bool() {
			return fmt.Errorf("it does not say so")
		}
		return nil
	})
	return s.clipboard()
}

// copied clicks on a button that copies, and returns what it copied.
func (s *browserSession) copied(button string) string {
	s.t.Helper()
	return s.copies(button, func() { s.click("button", button) })
}

// fill replaces the text of a field.
func (s *browserSession) fill(role, name, text string) {
	s.t.Helper()
	field := s.find(role, name).Timeout(timeout)
	if err := field.SelectAllText(); err != nil {
		s.t.Fatalf("filling %s: %v", name, err)
	}
	if err := field.Input(text); err != nil {
		s.t.Fatalf("filling %s: %v", name, err)
	}
}

// choose selects an option of a list by its text.
func (s *browserSession) choose(name, option string) {
	s.t.Helper()
	if err := s.find("combobox", name).Timeout(timeout).Select([]string{option}, true, rod.SelectorTypeText); err != nil {
		s.t.Fatalf("choosing %s of %s: %v", option, name, err)
	}
}

// press types keys, as somebody without a mouse does.
func (s *browserSession) press(keys ...input.Key) {
	s.t.Helper()
	for _, key := range keys {
		if err := s.page.Keyboard.Type(key); err != nil {
			s.t.Fatal(err)
		}
	}
}

// text returns the visible text.
func (s *browserSession) text() string {
	body, err := s.page.Timeout(timeout).Element("body")
	if err != nil {
		return err.Error()
	}
	text, err := body.Text()
	if err != nil {
		return err.Error()
	}
	return text
}

// reads waits until several texts are visible.
func (s *browserSession) reads(texts ...string) {
	s.t.Helper()
	s.wait(fmt.Sprintf("the texts %q", texts), func() error {
		now := s.text()
		for _, text := range texts {
			if !strings.Contains(now, text) {
				return fmt.Errorf("%q is not there", text)
			}
		}
		return nil
	})
}

// row waits until a key's row has several texts, and returns the row's text.
func (s *browserSession) row(name string, texts ...string) string {
	s.t.Helper()
	var row string
	s.wait(fmt.Sprintf("%s with %q", name, texts), func() error {
		// The innerText of a row that is out of sight is blank.
		row = s.eval(`name => {
			const row = document.querySelector("tr[data-name='" + name + "']");
			return row?.innerText || row?.textContent || "";
		}`, name).Str()
		for _, text := range texts {
			if !strings.Contains(row, text) {
				return fmt.Errorf("%q is not in %q", text, row)
			}
		}
		if row == "" {
			return fmt.Errorf("there is no such row")
		}
		return nil
	})
	return row
}

// names returns the names of the keys in the table, from top to bottom.
func (s *browserSession) names() []string {
	s.t.Helper()
	var names []string
	for _, name := range s.eval(
		`() => [...document.querySelectorAll("tr[data-name]")].filter(row => row.checkVisibility()).map(row =>
		  row.dataset.name)`).Arr() {
		names = append(names, name.Str())
	}
	return names
}

// shows waits until the table has exactly some keys, in that order.
func (s *browserSession) shows(names ...string) {
	s.t.Helper()
	s.wait(fmt.Sprintf("the keys %q", names), func() error {
		if now := s.names(); !slices.Equal(now, names) {
			return fmt.Errorf("there are %q", now)
		}
		return nil
	})
}

// screenshot writes a screenshot to bin/screenshots.
func (s *browserSession) screenshot(name string) {
	s.t.Helper()
	image, err := s.page.Timeout(timeout).Screenshot(false,
		&proto.PageCaptureScreenshot{Format: proto.PageCaptureScreenshotFormatPng})
	if err == nil {
		err = os.WriteFile(filepath.Join(screenshots(), name+".png"), image, 0o644)
	}
	if err != nil {
		s.t.Errorf("screenshot %s: %v", name, err)
	}
}

func screenshots() string { return filepath.Join(controlplane.Root(), "bin", "screenshots") }

// clipboard returns what was copied last.
func (s *browserSession) clipboard() string {
	s.t.Helper()
	return s.eval(`() => navigator.clipboard.readText()`).Str()
}

// state records a state of the page: it takes a screenshot, checks for accessibility barriers, and keeps the page's
// source for the search for tokens.
func (s *browserSession) state(name string) {
	s.t.Helper()
	s.screenshot(name)
	s.checkBarriers(name)
	s.keepSource(name)
}

// keepSource keeps the page's source for the search for tokens. A dialog that has closed removes what it held when it
// handles its close event, which the browser sends a little later.
func (s *browserSession) keepSource(name string) {
	s.t.Helper()
	s.wait("no closed dialog", func() error {
		if closed := s.eval(`() => document.querySelectorAll("dialog:not([open])").length`).Int(); closed > 0 {
			return fmt.Errorf("there are %d", closed)
		}
		return nil
	})
	source, err := s.page.Timeout(timeout).HTML()
	if err != nil {
		s.t.Fatal(err)
	}
	s.e.evidence.keep("the page's source, "+name, source)
}

// leave closes the window, and checks what it has recorded.
func (s *browserSession) leave() {
	s.record.stop()
	s.keepTraces()
	for _, complaint := range s.record.complaints() {
		if !slices.ContainsFunc(s.expected, func(begin string) bool { return strings.HasPrefix(complaint, begin) }) {
			s.t.Errorf("the browser complains: %s", complaint)
		}
	}
	s.record.checkHeaders(s.t, s.e.url)
}
