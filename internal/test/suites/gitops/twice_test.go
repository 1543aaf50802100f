package gitops_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// TestSecondApplyWritesNothing applies the samples twice: afterwards every object is what it was before, to the last
// byte of its metadata. It fails when publish.stamp always sets publishedTime.
func TestSecondApplyWritesNothing(t *testing.T) {
	for name, flags := range map[string][]string{"client-side": nil, "server-side": {"--server-side"}} {
		t.Run(name, func(t *testing.T) {
			i := newInstallation(t)
			count := len(samples(t, i)["ApiKey"])
			args := append([]string{"apply", "-k", controlplane.Root() + "/config/samples"}, flags...)
			install.Kubectl(t, i.ControlPlane, args...)
			awaitKeys(t, i, "all keys Ready", count, ready)
			awaitRest(t, i)
			before := everything(t, i)

			out := install.Kubectl(t, i.ControlPlane, args...)
			if changed := strings.Count(out, " configured"); changed > 0 {
				t.Errorf("kubectl changes %d objects:\n%s", changed, out)
			}
			// Another tenant makes the controller look at every key again.
			other := fixture.Name("tenant")
			for _, object := range []client.Object{fixture.Tenant(other), fixture.Namespace(other, other),
				fixture.ApiKey(other, "key")} {
				if err := i.Client.Create(t.Context(), object); err != nil {
					t.Fatal(err)
				}
			}
			awaitKeys(t, i, "another key Ready", count+1, ready)
			awaitRest(t, i)

			after := everything(t, i)
			for object := range before {
				if after[object] != before[object] {
					t.Errorf("%s\nbefore: %s\nafter:  %s", object, before[object], after[object])
				}
			}
			for object := range after {
				if _, was := before[object]; !was && !strings.Contains(object, other) {
					t.Errorf("%s was written", object)
				}
			}
		})
	}
}

// tenants are of every kind that is easily taken for a change: one leaves everything to the defaults, one names all of
// them, and one has lists of its own.
const tenants = `
apiVersion: keys.nexuscommerce.io/v1alpha1
kind: Tenant
metadata: {name: defaults}
spec:
  id: 0a5b2d63-1f0e-4a57-9d1a-6c2f4be71a01
  displayName: Defaults Ltd
  apiBaseURL: https://your-nexuscommerce.com/api
  namespaceSelector: {matchLabels: {example.com/tenant: defaults}}
---
apiVersion: keys.nexuscommerce.io/v1alpha1
kind: Tenant
metadata: {name: explicit}
spec:
  id: 0a5b2d63-1f0e-4a57-9d1a-6c2f4be71a02
  displayName: Explicit Ltd
  apiBaseURL: https://your-nexuscommerce.com/api
  environment: Live
  namespaceSelector: {matchLabels: {example.com/tenant: explicit}}
  maxKeys: 20
  expiryOptions: [30d, 90d, 1y, Never]
  allowedScopes: ["*"]
  allowedCIDRs: []
  state: Active
---
apiVersion: keys.nexuscommerce.io/v1alpha1
kind: Tenant
metadata: {name: lists}
spec:
  id: 0a5b2d63-1f0e-4a57-9d1a-6c2f4be71a03
  displayName: Lists Ltd
  apiBaseURL: https://your-nexuscommerce.com/api
  environment: Test
  namespaceSelector:
    matchLabels: {example.com/stage: test}
    matchExpressions:
    - {key: example.com/tenant, operator: In, values: [lists, lists-staging]}
    - {key: example.com/retired, operator: DoesNotExist}
  maxKeys: 5
  expiryOptions: [90d, 30d]
  allowedScopes: ["products:read", "orders:*"]
  allowedCIDRs: [203.0.113.0/24, "2001:db8::/32"]
  state: Suspended
`

// TestTenantsApplyUnchanged applies tenants twice, as pipelines do again and again: the second time changes nothing.
func TestTenantsApplyUnchanged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tenants.yaml")
	if err := os.WriteFile(file, []byte(tenants), 0o600); err != nil {
		t.Fatal(err)
	}
	i := newInstallation(t)
	i.Create(t, fixture.Policy("nexuscommerce")) // What is at rest has had something to do.
	for name, flags := range map[string][]string{"client-side": nil, "server-side": {"--server-side"}} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"apply", "-f", file}, flags...)
			install.Kubectl(t, i.ControlPlane, args...)
			defer install.Kubectl(t, i.ControlPlane, "delete", "-f", file)
			install.Kubectl(t, i.ControlPlane, "wait", "--for=jsonpath={.status.conditions}", "--timeout=2m", "-f", file)
			awaitRest(t, i)
			before := everything(t, i)
			out := install.Kubectl(t, i.ControlPlane, args...)
			if len(flags) == 0 && strings.Count(out, " unchanged") != strings.Count(tenants, "kind: Tenant") {
				t.Errorf("kubectl changes tenants:\n%s", out)
			}
			after := everything(t, i)
			for _, tenant := range []string{"Tenant /defaults", "Tenant /explicit", "Tenant /lists"} {
				if before[tenant] == "" || after[tenant] != before[tenant] {
					t.Errorf("%s\nbefore: %s\nafter:  %s", tenant, before[tenant], after[tenant])
				}
			}
		})
	}
}

// everything returns all objects of the kinds that the controller and the samples have, as the API server has them. Of
// Secrets it returns only the metadata.
func everything(t *testing.T, i *install.Installation) map[string]string {
	t.Helper()
	found := map[string]string{}
	for kind, list := range map[string]client.ObjectList{
		"Namespace":    &corev1.NamespaceList{},
		"Secret":       &corev1.SecretList{},
		"Event":        &eventsv1.EventList{},
		"Tenant":       &keysv1alpha1.TenantList{},
		"AccessPolicy": &keysv1alpha1.AccessPolicyList{},
		"ApiKey":       &keysv1alpha1.ApiKeyList{},
	} {
		if err := i.Client.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		err := apimeta.EachListItem(list, func(item runtime.Object) error {
			if secret, ok := item.(*corev1.Secret); ok {
				secret.Data = nil // A failed comparison must not print a token; its resourceVersion tells.
			}
			content, err := json.Marshal(item)
			object, _ := item.(client.Object)
			found[fmt.Sprintf("%s %s/%s", kind, object.GetNamespace(), object.GetName())] = string(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// awaitRest waits until the controller has nothing left to do but what is scheduled for later.
func awaitRest(t *testing.T, i *install.Installation) {
	t.Helper()
	program.WaitUntil(t, timeout, "a controller at rest",
		program.Answers(t.Context(), "http://"+i.Controller.Metrics+"/metrics",
			`controller_runtime_active_workers{controller="apikey"} 0`,
			`workqueue_depth{controller="apikey",name="apikey",priority="0"} 0`,
			`controller_runtime_active_workers{controller="tenant"} 0`,
			`workqueue_depth{controller="tenant",name="tenant",priority="0"} 0`,
			`controller_runtime_active_workers{controller="accesspolicy"} 0`,
			`workqueue_depth{controller="accesspolicy",name="accesspolicy",priority="0"} 0`))
}
