package plugin_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

const acme = "3714240b-2e06-4c35-8856-ccc1c096323e"

func TestRead(t *testing.T) {
	i := newInstallation(t)
	t.Run("list", i.lists)
	t.Run("tenant", i.showsTheTenant)
	t.Run("scopes", i.showsScopes)
	t.Run("describe", i.describes)
	t.Run("explain", i.explains)
	t.Run("identify", i.identifies)
	t.Run("identify, claimed twice", i.identifiesEveryClaim)
	t.Run("completion", i.completes)
	t.Run("no cluster", i.saysWhatToDo)
}

// columns returns the words of a table's heading, and the first cell of each line below it.
func columns(out string) (heading string, first []string) {
	heading, rest, _ := strings.Cut(out, "\n")
	for line := range strings.Lines(rest) {
		first = append(first, strings.Fields(line)[0])
	}
	return strings.Join(strings.Fields(heading), " "), first
}

func (i *installation) lists(t *testing.T) {
	heading, names := columns(i.must(t, "list", "-n", "warehouse"))
	if heading != "NAME PREFIX SCOPES CREATED LAST USED EXPIRES STATE" || !slices.Equal(names, []string{"storefront", "warehouse-integration"}) {
		t.Errorf("%s: %v", heading, names)
	}
	key := i.key(t, "warehouse", "storefront")
	contains(t, i.must(t, "list", "-n", "warehouse"), key.Status.Prefix, "products:read", key.CreationTimestamp.UTC().Format("2006-01-02"), "Never", "Active")
	if heading, names = columns(i.must(t, "list", "-A")); !strings.HasPrefix(heading, "NAMESPACE NAME ") || len(names) != 3 {
		t.Errorf("%s: %v: the canary is nobody's key", heading, names)
	}
	contains(t, i.must(t, "list", "-A", "-o", "wide"), "DISPLAY NAME", "Warehouse Integration", acme, "nightly-analytics-token")
	install.Kubectl(t, i.cp, "label", "apikey", "-n", "warehouse", "storefront", "app=shop")
	const group = "apikey.keys.nexuscommerce.io/"
	const storefront, integration, nightly = group + "storefront\n", group + "warehouse-integration\n", group + "nightly-analytics\n"
	for args, want := range map[string]string{
		"-l app=shop": storefront,
		"--field-selector status.tenantID=" + acme: storefront + integration,
		"--expiring-within 31d":                    nightly,
		"--expiring-within 14d":                    "",
		"--expiring-within 91d":                    nightly + integration,
		"--unused-for 90d":                         "",
		"--state Active":                           nightly + storefront + integration,
		"--state Suspended":                        "",
	} {
		if got := i.must(t, append([]string{"list", "-A", "-o", "name"}, strings.Fields(args)...)...); got != want {
			t.Errorf("list %s: %q, want %q", args, got, want)
		}
	}
	if got := i.must(t, "list", "-n", "warehouse", "-o", `jsonpath={range .items[*]}{.kind} {.metadata.name};{end}`); got != "ApiKey storefront;ApiKey warehouse-integration;" {
		t.Errorf("%q", got)
	}
	contains(t, i.must(t, "list", "-n", "warehouse", "-o", "yaml"), "kind: List", "kind: ApiKey")
	i.fails(t, 0, []string{"No keys found in namespace default", "-A"}, "list", "-n", "default")
	i.fails(t, 2, []string{"--unused-for", "14d"}, "list", "--unused-for", "3 months")
	i.fails(t, 2, []string{"--selector"}, "list", "-l", "a in b")
}

func (i *installation) showsTheTenant(t *testing.T) {
	contains(t, i.must(t, "tenant", "-n", "warehouse"), "Acme Ltd (acme)", acme, "https://your-nexuscommerce.com/api", "2 of 20", "30d, 90d, 1y, Never")
	contains(t, i.must(t, "tenant", "globex"), "1 of 5", "30d, 90d\n", "products:read, orders:*, analytics:read", "Test")
	if id := i.must(t, "tenant", "-n", "warehouse", "-o", "jsonpath={.spec.id}"); id != acme {
		t.Errorf("%q", id)
	}
	i.fails(t, 1, []string{"no tenant selects namespace default"}, "tenant", "-n", "default")
	i.fails(t, 1, []string{`"nobody" not found`}, "tenant", "nobody")
}

func (i *installation) showsScopes(t *testing.T) {
	out := i.must(t, "scopes")
	if heading, first := columns(out); heading != "SCOPE DESCRIPTION NEEDED BY" || len(first) != 11 || first[10] != "*" {
		t.Errorf("%s: %v", heading, first)
	}
	contains(t, out, "Update order status, confirm shipments   POST,PUT,PATCH,DELETE your-nexuscommerce.com/api/orders/…", "Full access, use with caution", "every scope")
	if got := i.must(t, "scopes", "orders:read", "-o", "jsonpath={.items[*].routes[*].path}"); got != "/api/orders" {
		t.Errorf("%q", got)
	}
	i.fails(t, 1, []string{"no AccessPolicy declares the scope order:read"}, "scopes", "order:read")
}

// workloads mount the Secret of warehouse-integration.
const workloads = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: importer, namespace: warehouse}
spec:
  selector: {matchLabels: {app: importer}}
  template:
    metadata: {labels: {app: importer}}
    spec:
      containers:
      - name: importer
        image: registry.example/importer:1
        env: [{name: API_KEY, valueFrom: {secretKeyRef: {name: warehouse-integration, key: token}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: debug, namespace: warehouse}
spec:
  serviceAccountName: default
  automountServiceAccountToken: false
  containers:
  - {name: shell, image: registry.example/shell:1, volumeMounts: [{name: key, mountPath: /key}]}
  volumes: [{name: key, secret: {secretName: warehouse-integration}}]
`

func (i *installation) describes(t *testing.T) {
	key := i.key(t, "warehouse", "warehouse-integration")
	manifest := filepath.Join(i.folder, "workloads.yaml")
	if err := os.WriteFile(manifest, []byte(workloads), 0o600); err != nil {
		t.Fatal(err)
	}
	install.Kubectl(t, i.cp, "create", "serviceaccount", "-n", "warehouse", "default")
	install.Kubectl(t, i.cp, "apply", "-f", manifest)
	contains(t, i.must(t, "describe", "warehouse-integration", "-n", "warehouse"),
		"Warehouse Integration", acme, "inventory:read,inventory:write,products:read", "(90d after its issue)",
		key.Status.Credentials[0].ID, key.Status.Credentials[0].Digest, "Ready True (Ready): The key works.", "Secret warehouse/warehouse-integration, entry token",
		"mounted by Deployment importer: env API_KEY of container importer; restart it after a rotation",
		"mounted by Pod debug: files at /key of container shell\n")
	if name := i.must(t, "describe", "storefront", "-n", "warehouse", "-o", "name"); name != "apikey.keys.nexuscommerce.io/storefront\n" {
		t.Errorf("%q", name)
	}
	i.must(t, "create", "typo", "-n", "warehouse", "--scopes", "product:read")
	i.await(t, "warehouse", "typo", "Stalled")
	contains(t, i.must(t, "describe", "typo", "-n", "warehouse"), "Failed (UnknownScope)", "did you mean products:read?", "To do: Correct the scope", "Scopes asked for:", "The token will be in Secret warehouse/typo, entry token.")
}

func (i *installation) explains(t *testing.T) {
	i.must(t, "create", "near", "-n", "warehouse", "--scopes", "orders:read", "--allow-cidr", "203.0.113.0/24", "--wait")
	for name, test := range map[string]struct {
		code int
		said []string
		args string
	}{
		"allowed":         {0, []string{"allowed", "AccessPolicy nexuscommerce, spec.rules[0]: needs products:read"}, "storefront GET https://your-nexuscommerce.com/api/products/7?page=2"},
		"a path alone":    {0, []string{"GET your-nexuscommerce.com/api/products"}, "storefront GET /api/products"},
		"a scope":         {3, []string{"refused (403 insufficient_scope)", "spec.rules[1]", "products:write in spec.scopes"}, "storefront POST /api/products"},
		"a route":         {3, []string{"route_not_declared", "a rule for GET your-nexuscommerce.com/api/unknown"}, "storefront GET /api/unknown"},
		"a host":          {3, []string{"route_not_declared"}, "storefront GET https://other.example/api/products"},
		"a method's case": {3, []string{"get is not GET"}, "storefront get /api/products"},
		"a path":          {3, []string{"path_ambiguous"}, "storefront GET https://your-nexuscommerce.com/api/products/..%2forders"},
		"no address":      {3, []string{"address_not_allowed", "--from"}, "near GET /api/orders"},
		"the address":     {0, []string{"allowed"}, "near GET /api/orders --from 203.0.113.9"},
		"another":         {3, []string{"address_not_allowed", "198.51.100.1 is in none of spec.allowedCIDRs: 203.0.113.0/24"}, "near GET /api/orders --from 198.51.100.1"},
		"both":            {3, []string{"address_not_allowed", "orders:write"}, "near PUT /api/orders"},
		"a tenant":        {3, []string{"wrong_tenant", "X-Tenant-ID: " + acme}, "storefront GET /api/products --tenant-id b1f0a2c4-5d6e-4f70-8a9b-0c1d2e3f4a5b"},
		"not issued":      {3, []string{"no token that a verifier knows", "UnknownScope"}, "typo GET https://your-nexuscommerce.com/api/products"},
		"no key":          {1, []string{"not found"}, "nobody GET /api/products"},
		"no URL":          {2, []string{"is no URL such as"}, "storefront GET api/products"},
		"no IP":           {2, []string{"--from"}, "storefront GET /api/products --from here"},
		"too few":         {2, []string{"three arguments"}, "storefront"},
	} {
		t.Run(name, func(t *testing.T) {
			i.fails(t, test.code, test.said, append([]string{"explain", "-n", "warehouse"}, strings.Fields(test.args)...)...)
		})
	}
	got := i.fails(t, 3, nil, "explain", "storefront", "POST", "/api/products", "-n", "warehouse", "-o",
		"jsonpath={.kind} {.allowed} {.explanations[0].reason} {.explanations[0].rule.policy} {.explanations[0].steps[?(@.ok==false)].check}")
	if want := "Explanation false insufficient_scope nexuscommerce statusScopes specScopes"; got.stdout != want {
		t.Errorf("%q, want %q", got.stdout, want)
	}
}

func (i *installation) identifies(t *testing.T) {
	token := i.token(t, "warehouse", "storefront")
	for name, test := range map[string]struct {
		stdin string
		code  int
		said  []string
	}{
		"a key's":          {token + "\n", 0, []string{"It works.", "Checksum:", "warehouse/storefront (Storefront)", "the newest"}},
		"from a header":    {"Bearer " + token, 0, []string{"warehouse/storefront"}},
		"one with a limit": {i.token(t, "warehouse", "near"), 0, []string{"from some addresses only: 203.0.113.0/24"}},
		"one with a typo":  {token[:60] + "-" + token[61:], 3, []string{"its checksum is wrong: it has a typo"}},
		"one that is cut":  {token[:50], 3, []string{"has 50 characters, not 66"}},
		"another's":        {"ghp_" + strings.Repeat("a", 36), 3, []string{"does not begin with nxc_live_"}},
		"an unknown one":   {unknownToken(t), 3, []string{"It is unknown: no key in any namespace has it", "Checksum:"}},
		"nothing":          {"", 2, []string{"0 words"}},
		"a whole log":      {"a log with " + token, 2, []string{"4 words"}},
	} {
		t.Run(name, func(t *testing.T) {
			i.check(t, []string{"identify"}, i.run(t, invocation{stdin: test.stdin, args: []string{"identify"}}), test.code, test.said)
		})
	}
	if got := i.run(t, invocation{stdin: token, args: []string{"identify", "-o", "name"}}); got.stdout != "apikey.keys.nexuscommerce.io/storefront\n" {
		t.Errorf("%+v", got)
	}
	for _, args := range [][]string{
		{"identify", token}, {token}, {"describe", token}, {"list", "-l", "token=" + token}, {"create", "x", "--display-name", "key " + token, "--scopes", "a:b"},
	} {
		got := i.run(t, invocation{args: args})
		if got.code != 2 || strings.Contains(got.stdout+got.stderr, token[17:]) || !strings.Contains(got.stderr, "treat it as leaked") {
			t.Errorf("%s with a token: exit code %d, or the token is repeated", args[0][:4], got.code)
		}
	}
}

// completes asks as kubectl does: the plugin itself, and the program that kubectl looks for.
func (i *installation) completes(t *testing.T) {
	contains(t, i.must(t, "__complete", "describe", "-n", "warehouse", ""), "storefront\tStorefront, Active", "warehouse-integration\t", ":4")
	contains(t, i.must(t, "__complete", "create", "x", "--scopes", "products:read,"), "products:read,orders:read\tRead orders", ":6")
	contains(t, i.must(t, "__complete", "create", "x", "-n", "sandbox", "--expiry", ""), "30d\n90d\n")
	contains(t, i.must(t, "__complete", "explain", "storefront", ""), "GET\nHEAD\n")
	contains(t, i.must(t, "completion", "bash"), "__complete")

	folder := t.TempDir()
	for _, name := range []string{"kubectl-apikey", "kubectl_complete-apikey"} {
		if err := os.Symlink(i.plugin, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	kubectl := func(args ...string) string {
		command := exec.CommandContext(t.Context(), i.cp.Kubectl, args...)
		command.Env = append(os.Environ(), "KUBECONFIG="+i.cp.Kubeconfig, "HOME="+i.folder, "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := command.CombinedOutput()
		if err != nil {
			t.Errorf("kubectl %v: %v", args, err)
		}
		return string(out)
	}
	contains(t, kubectl("apikey", "list", "-n", "warehouse"), "storefront")
	contains(t, kubectl("__complete", "apikey", "describe", "-n", "warehouse", ""), "storefront\tStorefront, Active")
}

func (i *installation) saysWhatToDo(t *testing.T) {
	i.fails(t, 2, []string{`there is no command "lst"; did you mean list?`}, "lst")
	i.fails(t, 0, []string{"Available Commands", "create"})
	i.fails(t, 1, []string{"nothing.kubeconfig"}, "list", "--kubeconfig", filepath.Join(i.folder, "nothing.kubeconfig"))
	i.fails(t, 1, []string{"Is the API server up?"}, "list", "--server", "https://127.0.0.1:1")
	install.Kubectl(t, i.cp, "delete", "crd", "accesspolicies.keys.nexuscommerce.io")
	i.fails(t, 1, []string{"Is the operator installed"}, "scopes")
}
