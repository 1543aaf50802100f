package plugin_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/processes"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// unknownToken makes a token that no key has.
func unknownToken(t *testing.T) string {
	t.Helper()
	made, err := keys.MakeToken(rand.Reader, token.FormatLive, (&keys.Request{}).Key())
	if err != nil {
		t.Fatal(err)
	}
	return made.Reveal()
}

// TestTokensAreNowhereElse (S2) runs every command, with the most talkative log, on keys whose tokens are known, and looks
// for these in all that was printed, in all that was left on disk, and in what every process of this machine was started with
// meanwhile. It fails where -v=8 is let through beside --show, where describe reads the Secret, where identify repeats what it was
// given, and where create --show has another program print the token.
func TestTokensAreNowhereElse(t *testing.T) {
	i := newInstallation(t)
	watch := processes.Start(t)
	i.run(t, invocation{secret: true, args: []string{"create", "shown", "-n", "warehouse", "--scopes", "products:read", "--show", "--yes"}})
	local := i.run(t, invocation{secret: true, args: []string{"create", "local", "-n", "warehouse", "--scopes", "products:read", "--local", "--yes", "--wait", "-v=10"}})
	i.must(t, "create", "filed", "-n", "warehouse", "--scopes", "products:read", "--local", "--token-file", "filed.token", "-v=10")
	filed, _ := i.read(t, "filed.token")
	canaries := map[string]string{
		"storefront": i.token(t, "warehouse", "storefront"), "shown": i.token(t, "warehouse", "shown"),
		"local": strings.TrimSpace(local.stdout), "filed": filed, "unknown": unknownToken(t),
	}
	for _, args := range []string{
		"list -A -o yaml", "list -A -o wide", "describe shown -n warehouse", "describe local -n warehouse -o json", "tenant -n warehouse", "scopes -o json",
		"explain shown GET /api/products -n warehouse -o yaml", "create more -n warehouse --scopes products:read --wait -o yaml",
		"create shown -n warehouse --scopes products:read --show --yes", "create shown -n warehouse --scopes orders:read",
		"create filed -n warehouse --scopes products:read --local --token-file filed.token",
		"rotate storefront -n warehouse --wait -o yaml", "suspend shown -n warehouse -o yaml", "resume shown -n warehouse", "revoke shown -n warehouse --wait --yes -o yaml",
		"__complete describe -n warehouse ",
	} {
		i.run(t, invocation{args: append(strings.Fields(args), "-v=10")})
	}
	canaries["storefront, rotated"] = i.token(t, "warehouse", "storefront")
	for _, canary := range canaries {
		for _, form := range []string{canary, "Bearer " + canary, canary[:40], canary + "0", canary[:30] + "-" + canary[31:], canary + " " + canary} {
			i.run(t, invocation{stdin: form, args: []string{"identify", "-v=10"}})
			i.run(t, invocation{stdin: form, args: []string{"identify", "-o", "json"}})
		}
	}
	started := watch.Seen() // A person's own mistakes come after: what is on a command line is in the list, whatever the program does.
	for _, canary := range canaries {
		i.run(t, invocation{args: []string{"identify", canary}})
		i.run(t, invocation{args: []string{canary}})
		i.run(t, invocation{args: []string{"list", "-n", canary}})
		i.run(t, invocation{args: []string{"list", "--" + canary}})
	}

	places := map[string]string{"output": i.printed.String(), "the controller's log": i.controller.Log(), "the verifier's log": i.verifier.Log()}
	for _, process := range started {
		places["what process "+process.Name+" was started with"] += process.Line + process.Environment
	}
	if !slices.ContainsFunc(started, func(p processes.Process) bool { return strings.Contains(p.Line, "identify\x00-v=10") }) {
		t.Errorf("the commands are not among the %d processes that were seen", len(started))
	}
	err := filepath.WalkDir(i.folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "filed.token" {
			return err
		}
		content, err := os.ReadFile(path)
		places["file "+path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(places["output"], "Response Body") || len(canaries) != 6 {
		t.Errorf("client-go's log is not there to be looked at")
	}
	for name, canary := range canaries {
		if len(canary) != 66 {
			t.Fatalf("%s: %d characters are no token", name, len(canary))
		}
		secret := canary[17:60] // The part that whoever has it has the token.
		for place, content := range places {
			if strings.Contains(content, secret) || strings.Contains(content, secret[:20]) {
				t.Errorf("the token %s, or half of it, is in %s", name, place)
			}
		}
	}
}
