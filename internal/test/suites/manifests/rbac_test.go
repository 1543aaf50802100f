package manifests_test

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

const (
	apikeys        = "apikeys.keys.nexuscommerce.io"
	tenants        = "tenants.keys.nexuscommerce.io"
	accessPolicies = "accesspolicies.keys.nexuscommerce.io"
)

// clientFor returns a client for a service account of the system namespace.
func clientFor(account string) client.Client {
	GinkgoHelper()
	c, err := client.New(cp.ServiceAccountConfig(account), client.Options{Scheme: controlplane.Scheme()})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// sampleKey is the key of config/samples that the specs try to write to.
func sampleKey(ctx context.Context) *keysv1alpha1.ApiKey {
	GinkgoHelper()
	var key keysv1alpha1.ApiKey
	Expect(cp.Client.Get(ctx, client.ObjectKey{Namespace: tenantNamespace, Name: "storefront"}, &key)).To(Succeed())
	return &key
}

var _ = Describe("The verifier's account", func() {
	It("can do nothing with Secrets, in any namespace", func(ctx SpecContext) {
		var namespaces corev1.NamespaceList
		Expect(cp.Client.List(ctx, &namespaces)).To(Succeed())
		places := map[string][]string{"": {"--all-namespaces"}}
		for _, namespace := range namespaces.Items {
			places[namespace.Name] = []string{"--namespace", namespace.Name}
		}
		Expect(places).To(HaveKey(tenantNamespace))
		verifier := serviceAccount("apikey-verifier")
		names := named(ctx)
		Expect(names).To(ContainElement(canaryName))

		for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"} {
			for namespace, place := range places {
				question := append([]string{"auth", "can-i", verb, "secrets", "--as=" + verifier.name}, place...)
				out, err := cp.RunKubectl(ctx, question...)
				Expect(err).To(HaveOccurred(), "%v", question)
				Expect(strings.TrimSpace(out)).To(Equal("no"), "%v", question)
				for _, name := range names {
					what := action{verb: verb, resource: "secrets", namespace: namespace, name: name}
					Expect(allowed(ctx, verifier, what)).To(BeFalse(), what.String())
				}
			}
		}
	})

	It("can write a key's usage and its own annotation on the canary, ask who its callers are, and nothing else",
		func(ctx SpecContext) {
			Expect(writes(ctx, serviceAccount("apikey-verifier"))).To(ConsistOf(
				"patch "+apikeys+"/status everywhere",
				"patch "+apikeys+" verifier-canary in apikey-system",
				"create tokenreviews.authentication.k8s.io everywhere",
				"create subjectaccessreviews.authorization.k8s.io everywhere",
			))
		})

	It("can read its three kinds", func(ctx SpecContext) {
		for _, resource := range []string{apikeys, tenants, accessPolicies} {
			for _, verb := range []string{"get", "list", "watch"} {
				Expect(allowed(ctx, serviceAccount("apikey-verifier"), action{verb: verb, resource: resource})).To(BeTrue(),
					"%s %s", verb, resource)
			}
		}
	})

	It("can't act as somebody else, nor give itself more", func(ctx SpecContext) {
		Expect(escalations(ctx, serviceAccount("apikey-verifier"))).To(BeEmpty())
	})

	It("keeps its annotation when the canary is applied again", func(ctx SpecContext) {
		annotation := keysv1alpha1.ProbeAnnotationPrefix + "apikey-verifier-0"
		probe := client.RawPatch(types.ApplyPatchType, []byte(`{"apiVersion":"keys.nexuscommerce.io/v1alpha1","kind":"ApiKey",
			"metadata":{"name":"verifier-canary","namespace":"apikey-system","annotations":{"`+annotation+`":"nonce"}}}`))
		canary := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: canaryName}}
		Expect(clientFor("apikey-verifier").Patch(ctx, canary, probe, client.FieldOwner("apikey-verifier-0"))).To(Succeed())

		apply(ctx, "verifier")
		Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(canary), canary)).To(Succeed())
		Expect(canary.Annotations).To(HaveKeyWithValue(annotation, "nonce"))
		Expect(canary.Spec.State).To(Equal(keysv1alpha1.ApiKeySuspended))
	})

	It("can't write to a key, only to its status", func(ctx SpecContext) {
		verifier := clientFor("apikey-verifier")
		key := sampleKey(ctx)
		revoke := client.RawPatch(types.MergePatchType,
			[]byte(`{"spec":{"state":"Revoked"},"status":{"lastUsedTime":"2026-11-23T12:00:00Z"}}`))
		Expect(verifier.Patch(ctx, key, revoke)).To(MatchError(apierrors.IsForbidden, "forbidden"))
		Expect(verifier.Status().Patch(ctx, key, revoke, client.DryRunAll)).To(Succeed())
		Expect(key.Status.LastUsedTime).NotTo(BeNil())
		Expect(key.Spec.State).To(Equal(keysv1alpha1.ApiKeyActive))
	})
})

var _ = Describe("The controller's account", func() {
	It("can write what config/rbac names, and nothing else", func(ctx SpecContext) {
		Expect(writes(ctx, serviceAccount("apikey-controller"))).To(ConsistOf(
			"update "+apikeys+"/status everywhere",
			"patch "+apikeys+"/status everywhere",
			"update "+tenants+"/status everywhere",
			"patch "+tenants+"/status everywhere",
			"update "+accessPolicies+"/status everywhere",
			"patch "+accessPolicies+"/status everywhere",
			"create secrets everywhere",
			"update secrets everywhere",
			"delete secrets everywhere",
			"create events.events.k8s.io everywhere",
			"patch events.events.k8s.io everywhere",
			"create leases.coordination.k8s.io in apikey-system",
			"update leases.coordination.k8s.io apikey-controller in apikey-system",
			"update leases.coordination.k8s.io apikey-verifiers in apikey-system",
			"create events in apikey-system",
			"patch events in apikey-system",
			"create configmaps in apikey-system",
			"update configmaps apikey-ca in apikey-system",
			"create "+apikeys+" in apikey-system", // The canary, where it is missing.
			"patch "+apikeys+" verifier-canary in apikey-system",
			"create tokenreviews.authentication.k8s.io everywhere", // Who reads its metrics.
			"create subjectaccessreviews.authorization.k8s.io everywhere",
		))
	})

	It("can read what it decides from", func(ctx SpecContext) {
		for _, resource := range []string{apikeys, tenants, accessPolicies, "namespaces", "secrets"} {
			for _, verb := range []string{"get", "list", "watch"} {
				Expect(allowed(ctx, serviceAccount("apikey-controller"), action{verb: verb, resource: resource})).To(BeTrue(),
					"%s %s", verb, resource)
			}
		}
	})

	It("can't act as somebody else, nor give itself more", func(ctx SpecContext) {
		Expect(escalations(ctx, serviceAccount("apikey-controller"))).To(BeEmpty())
	})

	It("can grant, and can't ask", func(ctx SpecContext) {
		controller := clientFor("apikey-controller")
		key := sampleKey(ctx)
		key.Spec.Scopes = []keysv1alpha1.Scope{"*"}
		key.Status.Scopes = []keysv1alpha1.Scope{"products:read"}
		Expect(controller.Update(ctx, key)).To(MatchError(apierrors.IsForbidden, "forbidden"))
		Expect(controller.Patch(ctx, key, client.MergeFrom(sampleKey(ctx)))).To(MatchError(apierrors.IsForbidden,
			"forbidden"))

		Expect(controller.Status().Update(ctx, key, client.DryRunAll)).To(Succeed())
		Expect(key.Spec.Scopes).To(ConsistOf(keysv1alpha1.Scope("products:read")))
		Expect(key.Status.Scopes).To(ConsistOf(keysv1alpha1.Scope("products:read")))
	})
})

// Kubernetes' own roles, which kube-controller-manager adds those of config/rbac to.
var _ = Describe("A person", Ordered, func() {
	BeforeAll(func(ctx SpecContext) {
		for _, role := range []string{"view", "edit", "admin"} {
			binding := &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: tenantNamespace, Name: "test-" + role},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: person(role).name}},
			}
			Expect(cp.Client.Create(ctx, binding)).To(Succeed())
			DeferCleanup(cp.Client.Delete, binding)
			Eventually(func(ctx context.Context) bool {
				return allowed(ctx, person(role), action{verb: "get", resource: apikeys, namespace: tenantNamespace})
			}).WithContext(ctx).WithTimeout(30*time.Second).Should(
				BeTrue(), "kube-controller-manager adds apikey-%s to %s", role, role)
		}
	})

	// ours returns the writes to this project's kinds.
	ours := func(ctx context.Context, who subject) []string {
		return writesTo(ctx, who, func(r apiResource) bool { return strings.Contains(r.name, keysv1alpha1.GroupName) })
	}

	It("with view can write nothing", func(ctx SpecContext) {
		Expect(ours(ctx, person("view"))).To(BeEmpty())
	})

	It("with edit can revoke", func(ctx SpecContext) {
		Expect(ours(ctx, person("edit"))).To(ConsistOf(
			"update "+apikeys+" in warehouse", "patch "+apikeys+" in warehouse",
		))
	})

	It("with admin can create keys too, and write no status", func(ctx SpecContext) {
		Expect(ours(ctx, person("admin"))).To(ConsistOf(
			"create "+apikeys+" in warehouse", "update "+apikeys+" in warehouse",
			"patch "+apikeys+" in warehouse", "delete "+apikeys+" in warehouse",
		))
	})

	DescribeTable("reads keys where the role is bound, and tenants where it is bound for the cluster",
		func(ctx SpecContext, role string) {
			for _, verb := range []string{"get", "list", "watch"} {
				Expect(allowed(ctx, person(role), action{verb: verb, resource: apikeys, namespace: tenantNamespace})).To(BeTrue())
				Expect(allowed(ctx, person(role), action{verb: verb, resource: apikeys, namespace: systemNamespace})).To(BeFalse())
				Expect(allowed(ctx, person(role), action{verb: verb, resource: tenants})).To(BeFalse())
			}

			everywhere := person("cluster-" + role)
			binding := &rbacv1.ClusterRoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: "test-" + role},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: everywhere.name}},
			}
			Expect(cp.Client.Create(ctx, binding)).To(Succeed())
			DeferCleanup(cp.Client.Delete, binding)
			for _, resource := range []string{apikeys, tenants, accessPolicies} {
				Eventually(func(ctx context.Context) bool {
					return allowed(ctx, everywhere, action{verb: "list", resource: resource})
				}).WithContext(ctx).Should(BeTrue(), resource)
				for _, verb := range []string{"create", "update", "patch", "delete"} {
					Expect(allowed(ctx, everywhere, action{verb: verb, resource: resource})).To(
						Equal(resource == apikeys && mayWrite(role, verb)), "%s %s", verb, resource)
				}
			}
		},
		Entry(nil, "view"), Entry(nil, "edit"), Entry(nil, "admin"),
	)
})

// mayWrite reports whether a role may do something with keys.
func mayWrite(role, verb string) bool {
	switch role {
	case "admin":
		return true
	case "edit":
		return verb == "update" || verb == "patch"
	default:
		return false
	}
}
