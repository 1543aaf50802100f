package plugin_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// wholeToken finds tokens in what is printed.
var wholeToken = regexp.MustCompile(`nxc_(live|test)_[0-9A-Za-z]{57}`)

func TestCreate(t *testing.T) {
	i := newInstallation(t)
	t.Run("every flag", i.createsWithEveryFlag)
	t.Run("repeated", i.createsOnce)
	t.Run("refused", i.refusesToCreate)
	t.Run("dry run", i.createsNothing)
	t.Run("shown", i.showsTheToken)
	t.Run("local", i.makesTheTokenHere)
	t.Run("on a terminal", i.asksATerminal)
}

func (i *installation) createsWithEveryFlag(t *testing.T) {
	out := i.must(t, "create", "stock-sync", "-n", "warehouse", "--display-name", "Stock Sync", "--scopes", "inventory:read,inventory:write",
		"--expiry", "90d", "--allow-cidr", "203.0.113.0/24,2001:db8::/32", "--rotate-every", "30d", "--rotate-overlap", "2d",
		"--secret-name", "stock-token", "--wait")
	contains(t, out, "The token is in Secret warehouse/stock-token, entry token.")
	key := i.key(t, "warehouse", "stock-sync")
	want := keysv1alpha1.ApiKeySpec{
		DisplayName: "Stock Sync", Scopes: []keysv1alpha1.Scope{"inventory:read", "inventory:write"}, Expiry: "90d",
		AllowedCIDRs: []keysv1alpha1.CIDR{"203.0.113.0/24", "2001:db8::/32"}, State: keysv1alpha1.ApiKeyActive,
		Rotation: &keysv1alpha1.Rotation{Every: "30d", Overlap: "2d"}, Secret: &keysv1alpha1.SecretTemplate{Name: "stock-token"},
	}
	if got, wanted := encoded(t, key.Spec), encoded(t, want); got != wanted {
		t.Errorf("%s, want %s", got, wanted)
	}
	if key.Status.SecretName != "stock-token" || len(key.Status.Credentials) != 1 || key.Status.Credentials[0].PublishedTime == nil {
		t.Errorf("the wait is over, and status is %+v", key.Status)
	}
}

func encoded(t *testing.T, object any) string {
	t.Helper()
	content, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func (i *installation) createsOnce(t *testing.T) {
	args := []string{"create", "once", "-n", "warehouse", "--scopes", "products:read,orders:read", "--wait"}
	if got := i.run(t, invocation{args: args}); got.code != 0 || !strings.Contains(got.stderr, "created") || !strings.Contains(got.stderr, "Ready after") {
		t.Fatalf("%+v", got)
	}
	before := i.key(t, "warehouse", "once")
	args[5] = "orders:read,products:read"
	i.fails(t, 0, []string{"is there already"}, args...)
	i.fails(t, 1, []string{"asks for something else", "Choose another name", "kubectl edit"}, "create", "once", "-n", "warehouse", "--scopes", "*")
	if after := i.key(t, "warehouse", "once"); after.Generation != before.Generation || after.UID != before.UID {
		t.Error("the key was changed")
	}
}

func (i *installation) refusesToCreate(t *testing.T) {
	for name, test := range map[string]struct {
		code int
		said []string
		args []string
	}{
		"no scopes":         {2, []string{"--scopes"}, []string{"create", "x"}},
		"a blank scope":     {2, []string{"blank"}, []string{"create", "x", "--scopes", "products:read,"}},
		"no name":           {2, []string{"one argument"}, []string{"create", "--scopes", "products:read"}},
		"an unknown flag":   {2, []string{"unknown flag", "--help"}, []string{"create", "x", "--scope", "products:read"}},
		"an unknown format": {2, []string{"output"}, []string{"create", "x", "--scopes", "products:read", "-o", "xml"}},
		"a bad dry run":     {2, []string{"none, client or server"}, []string{"create", "x", "--scopes", "products:read", "--dry-run=maybe"}},
		"a bad scope":       {1, []string{"a scope is resource:action"}, []string{"create", "x", "--scopes", "Products"}},
		"a bad block":       {1, []string{"IPv4 or IPv6 block"}, []string{"create", "x", "--scopes", "products:read", "--allow-cidr", "here"}},
		"an unknown scope":  {1, []string{"UnknownScope", "did you mean products:read?", "kubectl delete apikey -n warehouse typo", "kubectl apikey scopes"}, []string{"create", "typo", "--scopes", "product:read", "--wait"}},
		"an expiry that is not offered": {
			1, []string{"ExpiryNotOffered", "30d, 90d, 1y, Never", "kubectl apikey tenant"}, []string{"create", "expiry", "--scopes", "products:read", "--expiry", "31d", "--wait"},
		},
		"a namespace without a tenant": {1, []string{"NoTenant", "namespaceSelector"}, []string{"create", "x", "--scopes", "products:read", "--wait", "-n", "default"}},
		"a namespace that isn't there": {1, []string{"namespaces \"nowhere\" not found"}, []string{"create", "x", "--scopes", "products:read", "-n", "nowhere"}},
		"a wait that is over":          {4, []string{"--timeout"}, []string{"create", "late", "--scopes", "products:read", "--wait", "--timeout", "1ns"}},
	} {
		t.Run(name, func(t *testing.T) {
			if !slices.Contains(test.args, "-n") {
				test.args = append(test.args, "-n", "warehouse")
			}
			i.fails(t, test.code, test.said, test.args...)
		})
	}
}

func (i *installation) createsNothing(t *testing.T) {
	client := i.must(t, "create", "dry", "-n", "warehouse", "--scopes", "products:read", "--dry-run=client", "-o", "yaml")
	server := i.must(t, "create", "dry", "-n", "warehouse", "--scopes", "products:read", "--dry-run=server", "-o", "yaml")
	contains(t, client, "kind: ApiKey", "- products:read")
	contains(t, server, "kind: ApiKey", "- products:read", "state: Active") // What the schema fills in.
	i.fails(t, 1, []string{"a scope is resource:action"}, "create", "dry", "-n", "warehouse", "--scopes", "Products", "--dry-run=server")
	contains(t, i.must(t, "create", "dry", "-n", "warehouse", "--scopes", "products:read", "--dry-run"), "created (dry run)")
	i.fails(t, 1, []string{"not found", "kubectl apikey list"}, "describe", "dry", "-n", "warehouse")
}

func (i *installation) showsTheToken(t *testing.T) {
	args := []string{"create", "shown", "-n", "warehouse", "--scopes", "products:read", "--show"}
	i.fails(t, 2, []string{"no terminal", "--yes"}, args...)
	i.fails(t, 1, []string{"not found"}, "describe", "shown", "-n", "warehouse")
	for _, more := range [][]string{{"-v=8"}, {"-v", "10"}, {"-o", "yaml"}, {"--dry-run=server"}, {"--local"}} {
		i.fails(t, 2, nil, append(append(args, "--yes"), more...)...)
	}
	got := i.run(t, invocation{secret: true, args: append(args, "--yes", "-v=7")})
	want := i.token(t, "warehouse", "shown")
	if got.code != 0 || got.stdout != want+"\n" {
		t.Errorf("exit code %d: standard output is not the token, the whole token, and nothing but the token", got.code)
	}
	if wholeToken.MatchString(got.stderr) || !strings.Contains(got.stderr, "Secret warehouse/shown") {
		t.Errorf("standard error: %s", wholeToken.ReplaceAllString(got.stderr, "TOKEN"))
	}
}

func (i *installation) makesTheTokenHere(t *testing.T) {
	base := []string{"-n", "warehouse", "--scopes", "products:read", "--local"}
	local := func(name string, more ...string) []string {
		return append(append([]string{"create", name}, base...), more...)
	}

	i.fails(t, 2, []string{"no terminal", "--yes", "--token-file"}, local("piped")...)
	i.fails(t, 2, []string{"there is no rotation"}, local("turns", "--rotate-every", "30d", "--yes")...)

	got := i.run(t, invocation{secret: true, args: local("printed", "--yes", "--wait", "-v=10")})
	made, err := token.Parse(strings.TrimSuffix(got.stdout, "\n"))
	if err != nil || got.code != 0 {
		t.Fatalf("exit code %d, %v\n%s", got.code, err, got.stderr)
	}
	key := i.key(t, "warehouse", "printed")
	if made.Digest().String() != "sha256:"+key.Spec.Digest.SHA256 || made.Prefix() != key.Status.Prefix || key.Status.SecretName != "" {
		t.Errorf("%+v, %+v", key.Spec.Digest, key.Status)
	}

	i.must(t, local("filed", "--token-file", "filed.token")...)
	content, mode := i.read(t, "filed.token")
	if made, err := token.Parse(content); err != nil || mode != 0o600 || made.Prefix() != i.key(t, "warehouse", "filed").Spec.Digest.Prefix {
		t.Errorf("mode %v, %v", mode, err)
	}
	i.fails(t, 1, []string{"filed.token"}, local("again", "--token-file", "filed.token")...)
	i.fails(t, 1, []string{"asks for something else"}, local("filed", "--token-file", "other.token")...)
	if _, err := os.Stat(filepath.Join(i.folder, "other.token")); err == nil {
		t.Error("a token is left behind that no key has")
	}

	manifest := i.must(t, local("for-git", "-o", "yaml", "--token-file", "git.token", "--expiry", "90d")...)
	if content, mode = i.read(t, "git.token"); mode != 0o600 || strings.Contains(manifest, content[17:60]) {
		t.Errorf("mode %v, or the token is in the manifest", mode)
	}
	i.fails(t, 1, []string{"not found"}, "describe", "for-git", "-n", "warehouse")
	if err := os.WriteFile(filepath.Join(i.folder, "for-git.yaml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	install.Kubectl(t, i.cp, "apply", "-f", filepath.Join(i.folder, "for-git.yaml"))
	i.await(t, "warehouse", "for-git", keysv1alpha1.ConditionReady)
	if got := i.run(t, invocation{stdin: content, args: []string{"identify"}}); got.code != 0 || !strings.Contains(got.stdout, "warehouse/for-git") {
		t.Errorf("%+v", got)
	}

	got = i.run(t, invocation{secret: true, args: []string{
		"create", "tested", "-n", "sandbox", "--scopes", "products:read", "--local", "-o", "yaml", "--manifest-file", "tested.yaml", "--yes",
	}})
	if made, err := token.Parse(strings.TrimSpace(got.stdout)); err != nil || !strings.HasPrefix(made.Prefix(), "nxc_test_") {
		t.Errorf("exit code %d, %v: the tenant's tokens are for tests", got.code, err)
	}
	content, _ = i.read(t, "tested.yaml")
	contains(t, content, "kind: ApiKey", "sha256: ")
	if wholeToken.MatchString(content) {
		t.Error("the token is in the manifest")
	}
}
