package plugin_test

import (
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

func TestChange(t *testing.T) {
	i := newInstallation(t)
	t.Run("rotate", i.rotates)
	t.Run("suspend and resume", i.suspendsAndResumes)
	t.Run("owners", i.warnsOfOwners)
	t.Run("rights", i.keepsToTheRights)
	t.Run("revoke", i.revokes)
	t.Run("a leak", i.revokesMany)
	t.Run("no controller", i.revokesWithoutAController)
}

func (i *installation) rotates(t *testing.T) {
	before := i.key(t, "warehouse", "storefront")
	old := i.token(t, "warehouse", "storefront")
	i.fails(t, 0, []string{"(dry run)"}, "rotate", "storefront", "-n", "warehouse", "--dry-run")
	i.fails(t, 0, []string{"(server dry run)"}, "rotate", "storefront", "-n", "warehouse", "--dry-run=server")
	if i.key(t, "warehouse", "storefront").ResourceVersion != before.ResourceVersion {
		t.Error("a dry run has changed the key")
	}
	i.fails(t, 0, []string{"is in Secret storefront", "The old token works until"}, "rotate", "storefront", "-n", "warehouse", "--wait")
	after := i.key(t, "warehouse", "storefront")
	if len(after.Status.Credentials) != 2 || after.Status.Prefix == before.Status.Prefix || i.token(t, "warehouse", "storefront") == old {
		t.Errorf("the wait is over, and status is %+v", after.Status)
	}
	if got := i.run(t, invocation{stdin: old, args: []string{"identify"}}); got.code != 0 || !strings.Contains(got.stdout, "not the newest, until 20") {
		t.Errorf("the token before: %+v", got)
	}
	i.fails(t, 4, []string{"overlap of its last rotation", "If a token has leaked", "--timeout"}, "rotate", "storefront", "-n", "warehouse", "--wait", "--timeout", "1s")
	i.must(t, "create", "brought", "-n", "warehouse", "--scopes", "products:read", "--local", "--token-file", "brought.token", "--wait")
	i.fails(t, 1, []string{"made elsewhere", "create --local"}, "rotate", "brought", "-n", "warehouse")
}

func (i *installation) suspendsAndResumes(t *testing.T) {
	token := i.token(t, "warehouse", "warehouse-integration")
	i.fails(t, 2, []string{"name the keys to suspend"}, "suspend", "-n", "warehouse")
	i.fails(t, 2, []string{"not both"}, "suspend", "storefront", "--all", "-n", "warehouse")
	i.fails(t, 1, []string{`"nobody" not found`}, "suspend", "nobody", "-n", "warehouse")
	contains(t, i.must(t, "suspend", "warehouse-integration", "-n", "warehouse"), "ApiKey warehouse/warehouse-integration suspended")
	i.fails(t, 0, []string{"is suspended already"}, "suspend", "warehouse-integration", "-n", "warehouse")
	if got := i.run(t, invocation{stdin: "Bearer " + token + "\n", args: []string{"identify"}}); got.code != 3 || !strings.Contains(got.stdout, "suspended") {
		t.Errorf("%+v", got)
	}
	i.fails(t, 3, []string{"refused (401 suspended)", "kubectl apikey resume"}, "explain", "warehouse-integration", "GET", "/api/inventory", "-n", "warehouse")
	if name := i.must(t, "resume", "warehouse-integration", "-n", "warehouse", "-o", "name"); name != "apikey.keys.nexuscommerce.io/warehouse-integration\n" {
		t.Errorf("%q", name)
	}
	if state := i.key(t, "warehouse", "warehouse-integration").Spec.State; state != keysv1alpha1.ApiKeyActive {
		t.Errorf("it is %s", state)
	}
	i.fails(t, 0, []string{"is not suspended"}, "resume", "warehouse-integration", "-n", "warehouse")
}

// warnsOfOwners has tools' marks on keys, as the tools leave them.
func (i *installation) warnsOfOwners(t *testing.T) {
	i.must(t, "create", "owned", "-n", "warehouse", "--scopes", "products:read", "--wait")
	install.Kubectl(t, i.cp, "annotate", "apikey", "-n", "warehouse", "owned", "argocd.argoproj.io/tracking-id=shop:keys.nexuscommerce.io/ApiKey:warehouse/owned")
	i.fails(t, 0, []string{"Warning: Argo CD (Application shop)", "in Git, set spec.state: Suspended"}, "suspend", "owned", "-n", "warehouse", "--dry-run=server")
	install.Kubectl(t, i.cp, "annotate", "apikey", "-n", "warehouse", "owned", "argocd.argoproj.io/tracking-id-", "meta.helm.sh/release-name=keys", "meta.helm.sh/release-namespace=warehouse")
	i.fails(t, 0, []string{"Warning: Helm (release warehouse/keys)", "in the chart or its values"}, "revoke", "owned", "-n", "warehouse", "--dry-run")

	object := `{"apiVersion":"keys.nexuscommerce.io/v1alpha1","kind":"ApiKey","metadata":{"name":"flux","namespace":"warehouse","labels":{` +
		`"kustomize.toolkit.fluxcd.io/name":"keys","kustomize.toolkit.fluxcd.io/namespace":"flux-system"}},"spec":{"scopes":["products:read"],"state":"Active"}}`
	key := &keysv1alpha1.ApiKey{}
	key.Namespace, key.Name = "warehouse", "flux"
	if err := i.cp.Client.Patch(t.Context(), key, client.RawPatch("application/apply-patch+yaml", []byte(object)), client.FieldOwner("kustomize-controller")); err != nil {
		t.Fatal(err)
	}
	i.fails(t, 0, []string{"Warning: Flux (Kustomization flux-system/keys)", "names spec.state, so the next sync undoes this"}, "suspend", "flux", "-n", "warehouse")
	contains(t, i.must(t, "describe", "flux", "-n", "warehouse"), "Flux, Kustomization flux-system/keys")
}

// keepsToTheRights acts as people who may less than an administrator.
func (i *installation) keepsToTheRights(t *testing.T) {
	users := map[string]string{}
	for _, role := range []string{"view", "edit", "admin"} {
		kubeconfig, err := i.cp.KubeconfigFor("a-" + role)
		if err != nil {
			t.Fatal(err)
		}
		users[role] = kubeconfig
		install.Kubectl(t, i.cp, "create", "rolebinding", "-n", "warehouse", "a-"+role, "--clusterrole=apikey-"+role, "--user=a-"+role)
	}
	for name, test := range map[string]struct {
		role string
		code int
		said []string
		args []string
	}{
		"view lists":                {"view", 0, []string{"storefront"}, []string{"list"}},
		"view lists not all":        {"view", 1, []string{"forbidden", "ClusterRoleBinding"}, []string{"list", "-A"}},
		"view describes":            {"view", 0, []string{"not everything that may mount the Secret"}, []string{"describe", "storefront"}},
		"view suspends not":         {"view", 1, []string{"forbidden", "apikey-edit"}, []string{"suspend", "warehouse-integration"}},
		"view revokes not":          {"view", 1, []string{"forbidden"}, []string{"revoke", "storefront", "--yes"}},
		"view sees no tenants":      {"view", 1, []string{"forbidden", "ClusterRoleBinding"}, []string{"tenant"}},
		"edit creates not":          {"edit", 1, []string{"forbidden", "apikey-admin"}, []string{"create", "x", "--scopes", "products:read"}},
		"edit suspends":             {"edit", 0, []string{"suspended"}, []string{"suspend", "storefront"}},
		"admin creates":             {"admin", 0, []string{"Ready after"}, []string{"create", "by-admin", "--scopes", "products:read", "--wait"}},
		"admin reads no token":      {"admin", 1, []string{"its token can't be read", "it is in Secret warehouse/by-admin-2"}, []string{"create", "by-admin-2", "--scopes", "products:read", "--show", "--yes"}},
		"another tenant sees not":   {"admin", 1, []string{"forbidden"}, []string{"list", "-n", "sandbox"}},
		"another tenant makes none": {"admin", 1, []string{"forbidden"}, []string{"create", "x", "--scopes", "products:read", "-n", "sandbox"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"-n", "warehouse"}, test.args...)
			i.check(t, args, i.run(t, as(users[test.role], args...)), test.code, test.said)
		})
	}
	resume := []string{"resume", "storefront", "-n", "warehouse"}
	i.check(t, resume, i.run(t, as(users["edit"], resume...)), 1, []string{"apikey-admin"})
	i.check(t, resume, i.run(t, as(users["admin"], resume...)), 0, []string{"resumed"})

	// Who may look in one namespace can still ask whose a token is there.
	got := i.run(t, invocation{kubeconfig: users["view"], stdin: i.token(t, "warehouse", "storefront"), args: []string{"identify", "-n", "warehouse"}})
	i.check(t, []string{"identify"}, got, 0, []string{"looking in warehouse only", "you may not list tenants", "warehouse/storefront"})
}

var tookSome = regexp.MustCompile(`no verifier accepts it any more, seen after [0-9.]+m?s\. 1 verifier refuses the key`)

func (i *installation) revokes(t *testing.T) {
	args := []string{"revoke", "storefront", "-n", "warehouse", "--wait"}
	i.fails(t, 5, []string{"warehouse/storefront (Storefront, nxc_live_", "last used Never", "--yes"}, args...)
	if state := i.key(t, "warehouse", "storefront").Spec.State; state != keysv1alpha1.ApiKeyActive {
		t.Fatalf("it is %s although nobody said yes", state)
	}
	token := i.token(t, "warehouse", "storefront")
	if got := i.run(t, invocation{args: append(args, "--yes")}); got.code != 0 || !tookSome.MatchString(got.stderr) {
		t.Errorf("%+v", got)
	}
	i.fails(t, 0, []string{"is revoked already"}, append(args, "--yes")...)
	i.fails(t, 1, []string{"revoked, for good", "create another"}, "resume", "storefront", "-n", "warehouse")
	i.fails(t, 1, []string{"create another"}, "rotate", "storefront", "-n", "warehouse")
	if got := i.run(t, invocation{stdin: token, args: []string{"identify", "-o", "jsonpath={.state} {.works}"}}); got.code != 3 || got.stdout != "Revoked false" {
		t.Errorf("%+v", got)
	}
	contains(t, i.must(t, "describe", "storefront", "-n", "warehouse"), "Revoked True (Revoked)", "To do: Create another key with kubectl apikey create", "There is no token any more: the key is revoked.")
}

// revokesMany takes back all that a label or a namespace has.
func (i *installation) revokesMany(t *testing.T) {
	const keys = 25
	for n := range keys {
		key := &keysv1alpha1.ApiKey{}
		key.Namespace, key.GenerateName = "warehouse", "leaked-"
		key.Labels = map[string]string{"app": "leaky"}
		key.Spec.Scopes = []keysv1alpha1.Scope{"products:read"}
		if n%2 == 1 {
			key.Namespace = "sandbox"
		}
		if err := i.cp.Client.Create(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	i.fails(t, 2, []string{"choose them with -l"}, "revoke", "-A", "--yes")
	before := i.must(t, "list", "-A", "-o", "name")
	if got := i.must(t, "revoke", "-A", "-l", "app=leaky", "--dry-run"); strings.Count(got, "revoked (dry run)\n") != keys {
		t.Error(got)
	}
	if after := i.must(t, "list", "-A", "-o", "name"); after != before || strings.Contains(i.must(t, "list", "-A", "-l", "app=leaky"), "Revok") {
		t.Error("a dry run has changed something")
	}
	i.fails(t, 5, []string{"and 5 more", "--yes"}, "revoke", "-A", "-l", "app=leaky")
	got := i.run(t, invocation{args: []string{"revoke", "-A", "-l", "app=leaky", "--yes", "--wait"}})
	if got.code != 0 || strings.Count(got.stdout, " revoked\n") != keys || len(tookSome.FindAllString(got.stderr, -1)) != keys {
		t.Errorf("%+v", got)
	}
	if left := i.must(t, "list", "-A", "-l", "app=leaky", "--state", "Revoked", "-o", "name"); strings.Count(left, "\n") != keys {
		t.Errorf("%d of %d are revoked", strings.Count(left, "\n"), keys)
	}
	i.must(t, "revoke", "--all", "-n", "warehouse", "--yes", "--wait")
	if left := i.must(t, "list", "-n", "warehouse", "--field-selector", "spec.state!=Revoked", "-o", "name"); left != "" {
		t.Errorf("left: %s", left)
	}
	if nightly := i.key(t, "sandbox", "nightly-analytics"); nightly.Spec.State != keysv1alpha1.ApiKeyActive {
		t.Error("a key of another namespace is revoked too")
	}
	i.fails(t, 0, []string{"No keys to revoke."}, "revoke", "--all", "-n", "warehouse", "--yes")
}

// revokesWithoutAController: it counts all the same, and who waits is told that nobody has said so.
func (i *installation) revokesWithoutAController(t *testing.T) {
	i.controller.Kill()
	i.fails(t, 4, []string{"revoked", "The revocation is committed", "--max-staleness"}, "revoke", "nightly-analytics", "-n", "sandbox", "--yes", "--wait", "--timeout", "2s")
	i.fails(t, 3, []string{"refused (401 revoked)"}, "explain", "nightly-analytics", "GET", "/api/orders", "-n", "sandbox")
	contains(t, i.must(t, "list", "-n", "sandbox"), "Revoking")
}
