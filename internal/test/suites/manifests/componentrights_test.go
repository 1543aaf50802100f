package manifests_test

import (
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// changedRights are the objects of RBAC that a component adds (+), takes away (-) or changes (~).
func changedRights(plain, objects []*unstructured.Unstructured) []string {
	rights := func(all []*unstructured.Unstructured) map[string]*unstructured.Unstructured {
		found := map[string]*unstructured.Unstructured{}
		for _, object := range all {
			if object.GroupVersionKind().Group == rbacv1.GroupName || object.GetKind() == "ServiceAccount" {
				found[strings.Join([]string{object.GetKind(), object.GetNamespace(), object.GetName()}, " ")] = object
			}
		}
		return found
	}
	before, after := rights(plain), rights(objects)
	var changes []string
	for name, object := range after {
		if before[name] == nil {
			changes = append(changes, "+"+name)
		} else if !equality.Semantic.DeepEqual(before[name], object) {
			changes = append(changes, "~"+name)
		}
	}
	for name := range before {
		if after[name] == nil {
			changes = append(changes, "-"+name)
		}
	}
	return changes
}

var _ = Describe("config/components", func() {
	It("run pods that the namespace admits, each and all at once", func(ctx SpecContext) {
		// cert-manager has it too.
		sets := [][]string{slices.DeleteFunc(components(), func(name string) bool { return name == "tls" })}
		for _, component := range components() {
			sets = append(sets, []string{component})
		}
		for _, set := range sets {
			objects := build(ctx, set...)
			Expect(built[corev1.Namespace](objects, "Namespace", systemNamespace).Labels).To(
				HaveKeyWithValue("pod-security.kubernetes.io/enforce", "restricted"), "%v", set)
			for _, name := range []string{"apikey-controller", "apikey-verifier"} {
				template := built[appsv1.Deployment](objects, "Deployment", name).Spec.Template
				pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: systemNamespace},
					Spec: template.Spec}
				Expect(cp.Client.Create(ctx, pod, client.DryRunAll)).To(Succeed(), "%s with %v", name, set)
			}
		}
	})

	It("change nobody's rights but where that is what they are for", func(ctx SpecContext) {
		plain := build(ctx)
		for _, component := range components() {
			want := map[string][]string{
				"console":    {"+ServiceAccount " + systemNamespace + " apikey-console"},
				"monitoring": {"+ClusterRoleBinding  apikey-metrics-reader"},
				"namespaces": {
					"-ClusterRoleBinding  apikey-controller-secrets",
					"+RoleBinding " + systemNamespace + " apikey-controller-secrets",
					"+RoleBinding " + tenantNamespace + " apikey-controller-secrets",
				},
			}[component]
			Expect(changedRights(plain, build(ctx, component))).To(ConsistOf(want), component)
		}
	})

	It("with monitoring let Prometheus read metrics, and do nothing else", func(ctx SpecContext) {
		binding := built[rbacv1.ClusterRoleBinding](build(ctx, "monitoring"), "ClusterRoleBinding", "apikey-metrics-reader")
		Expect(cp.Client.Create(ctx, binding)).To(Succeed())
		DeferCleanup(cp.Client.Delete, binding)
		Expect(binding.Subjects).To(HaveLen(1))
		prometheus := subject{
			name: "system:serviceaccount:" + binding.Subjects[0].Namespace + ":" + binding.Subjects[0].Name,
			groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + binding.Subjects[0].Namespace,
				"system:authenticated"},
		}
		Expect(writes(ctx, prometheus)).To(BeEmpty())
		Expect(escalations(ctx, prometheus)).To(BeEmpty())
		Expect(allowed(ctx, prometheus, action{verb: "get", resource: "secrets", namespace: systemNamespace})).To(BeFalse())
	})

	It("with namespaces leave the controller the Secrets of those, and no others", func(ctx SpecContext) {
		DeferCleanup(func(ctx SpecContext) {
			for _, namespace := range []string{systemNamespace, tenantNamespace} {
				kubectl(ctx, "delete", "rolebinding", "--namespace", namespace, "apikey-controller-secrets")
			}
			kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-k", folder("default"))
		})
		controller := serviceAccount("apikey-controller")
		everywhere := writes(ctx, controller)
		kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-k",
			install.Kustomization(GinkgoTB(), []string{"default"}, "namespaces"))
		kubectl(ctx, "delete", "clusterrolebinding", "apikey-controller-secrets")

		limited := slices.DeleteFunc(everywhere,
			func(write string) bool { return strings.HasSuffix(write, " secrets everywhere") })
		Expect(writes(ctx, controller)).To(ConsistOf(append(limited,
			"create secrets in apikey-system", "update secrets in apikey-system", "delete secrets in apikey-system",
			"create secrets in warehouse", "update secrets in warehouse", "delete secrets in warehouse",
		)))
		Expect(escalations(ctx, controller)).To(BeEmpty())
		for _, verb := range []string{"get", "list", "watch"} {
			for namespace, may := range map[string]bool{"": false, systemNamespace: true, tenantNamespace: true,
				"sandbox": false, "default": false, "kube-system": false} {
				what := action{verb: verb, resource: "secrets", namespace: namespace}
				Expect(allowed(ctx, controller, what)).To(Equal(may), what.String())
			}
		}
		for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection"} {
			for _, namespace := range []string{"sandbox", "default", "kube-system"} {
				what := action{verb: verb, resource: "secrets", namespace: namespace}
				Expect(allowed(ctx, controller, what)).To(BeFalse(), what.String())
			}
		}
	})
})
