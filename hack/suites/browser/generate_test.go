package browser_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-rod/rod"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// key reads a key.
func (e *environment) key(t *testing.T, namespace, name string) *keysv1alpha1.ApiKey {
	t.Helper()
	key := &keysv1alpha1.ApiKey{}
	if err := e.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, key); err != nil {
		t.Fatal(err)
	}
	return key
}

// shown reads the token that is shown, and checks that it is nowhere else in the page, and not in the clipboard unless
// copied.
func (s *browserSession) shown(name string) string {
	s.t.Helper()
	value, err := s.find("textbox", "Token").Property("value")
	if err != nil {
		s.t.Fatal(err)
	}
	token := value.Str()
	if len(token) != 66 {
		s.t.Fatalf("%d characters are no token", len(token))
	}
	if name != "" {
		s.e.evidence.canary(name, token)
	}
	return token
}

// generates creates a key with nothing but a name and a scope. The browser keeps a profile on disk, as people's
// browsers do.
func (e *environment) generates(t *testing.T) {
	s := e.openIn(t, e.chromium.Browser, wide, light)
	s.signIn(e.alice, warehouse)
	s.click("button", "Generate New Key")
	s.find("dialog", "Generate New Key")
	s.state("generate")
	s.fill("textbox", "Display name", "Order Desk")
	s.click("checkbox", "orders:read")
	s.click("button", "Generate key")
	s.find("dialog", "Copy your key now")
	token := s.shown("the token that the page has shown")
	s.screenshot("generated") // The source has the token here, so it is not kept for the search.
	s.checkBarriers("generated")

	if s.copied("Copy token") != token {
		t.Error("the clipboard has not the token")
	}
	e.calls(t, token, acmeID, http.MethodGet, "/api/orders", http.StatusOK)
	if got := e.call(t, token, acmeID, http.MethodGet, "/api/products"); got != http.StatusForbidden {
		t.Errorf("beyond its scopes: %d", got)
	}
	s.click("button", "Done")
	s.gone("dialog", "Copy your key now")
	s.row("order-desk", "Order Desk", "orders:read", "Active")
	s.keepSource("after the token was shown")

	// The token is shown once: not after going back, not in the key's details, not after a reload.
	s.click("button", "Order Desk")
	s.find("heading", "Conditions")
	s.keepSource("details of a key that was just generated")
	s.open("/namespaces/" + warehouse)
	s.row("order-desk", "Active")
	s.keepSource("loaded anew")
}

// makes creates a key with a scope, and returns its token once it is copied.
func (s *browserSession) makes(displayName, scope string) string {
	s.t.Helper()
	s.click("button", "Generate New Key")
	s.fill("textbox", "Display name", displayName)
	s.click("checkbox", scope)
	s.click("button", "Generate key")
	s.find("dialog", "Copy your key now")
	token := s.shown("the token of " + displayName)
	if s.copied("Copy token") != token {
		s.t.Error("the clipboard has not the token")
	}
	s.click("button", "Done")
	s.gone("dialog", "Copy your key now")
	return token
}

// revokes revokes a key, and checks that it is revoked.
func (s *browserSession) revokes(displayName, name string) {
	s.t.Helper()
	s.click("button", "Revoke "+displayName)
	s.click("button", "Revoke key")
	s.find("dialog", displayName+" is revoked")
	s.click("button", "Close")
	s.row(name, "Revoked")
}

// generatesWithEverything creates a key with full access, after a warning, and with every restriction; runs the curl
// command that is copied, and applies the YAML. The token of this key is in curl's arguments, and so in the list of
// processes: it is the only one that isn't searched for.
func (e *environment) generatesWithEverything(t *testing.T) {
	s := e.openSignedIn(t, e.alice, warehouse)
	s.click("button", "Generate New Key")
	s.fill("textbox", "Display name", "Warehouse Robot")
	s.fill("textbox", "Name in Kubernetes", "robot")
	for _, scope := range []string{"products:read", "products:write", "inventory:write"} {
		s.click("checkbox", scope)
	}
	s.disclose("Full access")
	s.reads("caution")
	s.click("checkbox", "* (full access)")
	s.choose("Expiry", s.option("Expiry", "30"))
	s.disclose("Restrict and rotate")
	s.fill("textbox", "Allowed IP addresses", "192.0.2.0/24\n2001:db8::/32")
	s.fill("textbox", "Rotate every", "7d")
	s.fill("textbox", "Overlap", "1d")
	s.state("generate-everything")
	s.click("button", "Generate key")
	s.find("dialog", "Copy your key now")
	s.shown("")

	key := e.key(t, warehouse, "robot")
	if spec := key.Spec; spec.DisplayName != "Warehouse Robot" || !slices.Contains(spec.Scopes, "*") ||
		spec.Expiry != "30d" ||
		!slices.Equal(spec.AllowedCIDRs, []keysv1alpha1.CIDR{"192.0.2.0/24", "2001:db8::/32"}) ||
		spec.Rotation == nil || spec.Rotation.Every != "7d" || spec.Rotation.Overlap != "1d" {
		t.Errorf("what was made is %+v", spec)
	}
	s.disclose("YAML for Git")
	e.applies(t, s.copied("Copy YAML"), "robot")
	s.click("button", "Done")
	s.reads("You have not copied the token.") // It is not shown again.
	s.click("button", "Done")
	s.gone("dialog", "Copy your key now")

	s.click("button", "Generate New Key")
	s.fill("textbox", "Display name", "Curl")
	s.click("checkbox", "products:read")
	s.click("button", "Generate key")
	s.find("dialog", "Copy your key now")
	e.runs(t, s.copied("Copy curl command"))
	s.click("button", "Done")
	s.row("curl", "Active")
}

// disclose opens a collapsed section.
func (s *browserSession) disclose(name string) {
	s.t.Helper()
	s.clickOn(name, func() (*rod.Element, error) {
		return s.page.Timeout(timeout).ElementR("dialog[open] summary, dialog[open] [aria-expanded]", name)
	})
}

// option returns the text of an option that contains a part.
func (s *browserSession) option(name, part string) string {
	s.t.Helper()
	options, err := s.find("combobox", name).Elements("option")
	if err != nil {
		s.t.Fatalf("the options of %s: %v", name, err)
	}
	for _, option := range options {
		text, err := option.Text()
		if err != nil {
			s.t.Fatalf("the options of %s: %v", name, err)
		}
		if strings.Contains(text, part) {
			return text
		}
	}
	s.t.Fatalf("%s has no option with %s", name, part)
	return ""
}

// applies applies a manifest under another name, and checks that it asks for the same.
func (e *environment) applies(t *testing.T, manifest, name string) {
	t.Helper()
	if !strings.Contains(manifest, "\n  name: "+name+"\n") {
		t.Fatalf("no manifest of %s:\n%s", name, manifest)
	}
	path := filepath.Join(t.TempDir(), "key.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := e.kubectl(t, "apply", "--dry-run=server", "-f", path); !strings.Contains(out, name) ||
		strings.Contains(out, "error") {
		t.Errorf("applying it: %s", out)
	}
	if err := os.WriteFile(path,
		[]byte(strings.Replace(manifest, "\n  name: "+name+"\n", "\n  name: "+name+"-from-git\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	e.kubectl(t, "apply", "-f", path)
	made, want := e.key(t, warehouse, name+"-from-git").Spec, e.key(t, warehouse, name).Spec
	if fmt.Sprint(made.Scopes, made.Expiry, made.AllowedCIDRs, *made.Rotation, made.DisplayName) !=
		fmt.Sprint(want.Scopes, want.Expiry, want.AllowedCIDRs, *want.Rotation, want.DisplayName) {
		t.Errorf("the manifest asks for %+v, not %+v", made, want)
	}
	e.kubectl(t, "delete", "-f", path, "--timeout=1m") // The next steps count keys.
}

// runs runs a curl command in a shell, against the gateway instead of the API. It must be allowed.
func (e *environment) runs(t *testing.T, command string) {
	t.Helper()
	if !strings.HasPrefix(command, "curl https://your-nexuscommerce.com/api/") ||
		!strings.Contains(command, `-H "X-Tenant-ID: `+acmeID+`"`) {
		t.Fatalf("the command is not the one of the documentation")
	}
	script := strings.TrimSpace(command) +
		` --silent --insecure --fail --connect-to "your-nexuscommerce.com:443:$GATEWAY" --output /dev/null` +
		` --write-out '%{http_code}'`
	var out []byte
	for range 50 { // The verifier learns about a new key within moments.
		shell := exec.CommandContext(t.Context(), "sh")
		shell.Env = append(os.Environ(), "GATEWAY="+strings.TrimPrefix(e.gateway.URL, "https://"))
		shell.Stdin = strings.NewReader(script)
		if out, _ = shell.Output(); string(out) == "200" {
			return
		}
	}
	t.Errorf("curl: %s", out)
}

// refusesToGenerate checks the messages for keys that can't be created as requested.
func (e *environment) refusesToGenerate(t *testing.T) {
	s := e.openSignedIn(t, e.alice, warehouse)
	s.expected = append(s.expected, "network: Failed to load resource: the server responded with a status of 4")
	s.click("button", "Generate New Key")
	s.click("button", "Generate key") // No field is filled in.
	s.wait("a field that is marked", func() error {
		if s.eval(`() => document.querySelectorAll("dialog[open] :is([aria-invalid=true], :user-invalid)")
		  .length`).Int() == 0 {
			return fmt.Errorf("none is")
		}
		return nil
	})
	s.state("generate-nothing")

	s.fill("textbox", "Display name", "Storefront")
	s.fill("textbox", "Name in Kubernetes", "storefront")
	s.click("checkbox", "orders:read")
	s.click("button", "Generate key")
	s.reads("There is a key of this name in the namespace.")
	s.state("generate-refused")
	s.fill("textbox", "Name in Kubernetes", "by-address")
	s.disclose("Restrict and rotate")
	s.fill("textbox", "Allowed IP addresses", "192.0.2.300")
	s.click("button", "Generate key")
	s.reads("192.0.2.300")
	s.keepSource("a refused key")
	s.click("button", "Cancel")
	s.gone("dialog", "Generate New Key")
	if names := e.kubectl(t, "get", "apikeys", "-n", warehouse, "-o", "name"); strings.Contains(names, "by-address") {
		t.Errorf("it was made: %s", names)
	}
}
