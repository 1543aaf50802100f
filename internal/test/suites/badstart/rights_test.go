package badstart_test

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// optional are the rights of config/rbac without which the programs start. Only what needs them fails, and that is
// logged.
var optional = map[string][]string{
	controller: {
		"get apikeys/status.keys.nexuscommerce.io", "get tenants/status.keys.nexuscommerce.io",
		"get accesspolicies/status.keys.nexuscommerce.io",
		"create events", "patch events", // Of the election.
	},
}

// TestEveryRightIsAskedFor checks that a program without any rights names each right that config/rbac would have given
// it, so that the lack of any one is reported.
func TestEveryRightIsAskedFor(t *testing.T) {
	binaries := build(t)
	cp := install.ControlPlane(t, controlplane.Options{})
	for name, file := range map[string]string{controller: "controller.yaml", verifier: "verifier.yaml"} {
		t.Run(name, func(t *testing.T) {
			p := program.Start(t, binaries[name],
				flags(t, name, "--kubeconfig="+install.Kubeconfig(t, cp, name), "--startup-timeout=1s")...)
			endsBadly(t, p, name, "this account may not ")
			lines := strings.Split(strings.TrimSpace(p.Log()), "\n")
			_, list, _ := strings.Cut(lines[len(lines)-1], "this account may not ")
			list, _, _ = strings.Cut(list, ": apply")
			asked := map[string]bool{}
			for entry := range strings.SplitSeq(list, "; ") {
				entry, _, _ = strings.Cut(entry, " in namespace ")
				words := strings.Split(entry, ", ") // The last is a verb and the resource.
				verb, resource, _ := strings.Cut(words[len(words)-1], " ")
				for _, verb := range append(words[:len(words)-1], verb) {
					asked[verb+" "+resource] = true
				}
			}
			given := rights(t, install.Config("rbac", file))
			for _, right := range given {
				if asked[right] == slices.Contains(optional[name], right) {
					t.Errorf("%s: asked for %t, optional %t", right, asked[right], !asked[right])
				}
			}
			if len(given) < 10 || len(asked) < 10 {
				t.Errorf("%d rights are given and %d asked for", len(given), len(asked))
			}
		})
	}
}

// rights returns what a file's roles allow, such as "patch apikeys/status.keys.nexuscommerce.io".
func rights(t *testing.T, path string) []string {
	t.Helper()
	var all []string
	for document := range strings.SplitSeq(read(t, path), "\n---\n") {
		var role rbacv1.Role
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				if rule.APIGroups[0] != "" {
					resource += "." + rule.APIGroups[0]
				}
				if len(rule.ResourceNames) > 0 {
					resource += " named " + rule.ResourceNames[0]
				}
				for _, verb := range rule.Verbs {
					all = append(all, verb+" "+resource)
				}
			}
		}
	}
	return all
}
