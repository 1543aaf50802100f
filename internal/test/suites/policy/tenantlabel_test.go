package policy_test

import (
	"context"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// The policy of docs/tenant.md, which is a sample and no part of an installation.
var _ = Describe("The sample policy for the tenants' label", Ordered, func() {
	const policy, field = "tenant-label", "metadata.labels[nexuscommerce.io/tenant]: "
	const wayOut = "ask somebody who may update Tenants"
	sample := filepath.Join(controlplane.Root(), "docs", "examples", "tenant-label-policy.yaml")

	// somebody returns a client for a user who may do anything to namespaces, and to Tenants what the verbs say.
	somebody := func(ctx context.Context, verbs ...string) client.Client {
		GinkgoHelper()
		name := fixture.Name("namespaces")
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"namespaces", "namespaces/status", "namespaces/finalize"},
				Verbs: []string{"*"}},
		}}
		if len(verbs) > 0 {
			role.Rules = append(role.Rules,
				rbacv1.PolicyRule{APIGroups: []string{"keys.nexuscommerce.io"}, Resources: []string{"tenants"}, Verbs: verbs})
		}
		Expect(cp.Client.Create(ctx, role)).To(Succeed())
		Expect(cp.Client.Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
		})).To(Succeed())
		who := person(name)
		Eventually(func(ctx context.Context) error {
			return who.List(ctx,
				&corev1.NamespaceList{})
		}).WithContext(ctx).WithTimeout(timeout).Should(Succeed())
		return who
	}
	place := func(tenant string) *corev1.Namespace {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fixture.Name("ns"),
			Labels: map[string]string{"example.com/team": "a"}}}
		if tenant != "" {
			ns.Labels["nexuscommerce.io/tenant"] = tenant
		}
		return ns
	}
	made := func(ctx context.Context, tenant string) *corev1.Namespace {
		GinkgoHelper()
		ns := place(tenant)
		Expect(cp.Client.Create(ctx, ns)).To(Succeed())
		return ns
	}

	var operator, owner client.Client // Only the owner may update Tenants.

	BeforeAll(func(ctx SpecContext) {
		kubectl(ctx, "apply", "-f", sample)
		DeferCleanup(func(ctx SpecContext) {
			kubectl(ctx, "delete", "-f", sample)
			settle(ctx)
		})
		operator, owner = somebody(ctx, "get", "list", "create", "patch"), somebody(ctx, "update")
		settle(ctx)
	})

	It("refuses a namespace that is created with it, by whoever may not update Tenants", func(ctx SpecContext) {
		Expect(operator.Create(ctx, place("acme"))).To(beRefusedBy(policy, field, wayOut))
		Expect(operator.Create(ctx, place("acme"), client.DryRunAll)).To(beRefusedBy(policy, field, wayOut))
		Expect(operator.Create(ctx, place(""))).To(Succeed())
	})

	It("refuses to have it set, changed or removed, also by way of a subresource", func(ctx SpecContext) {
		Expect(operator.Patch(ctx, made(ctx, ""),
			merge(`{"metadata":{"labels":{"nexuscommerce.io/tenant":"acme"}}}`))).To(beRefusedBy(policy, field, wayOut))
		Expect(operator.Patch(ctx, made(ctx, ""),
			merge(`{"metadata":{"labels":{"nexuscommerce.io/tenant":""}}}`))).To(beRefusedBy(policy, field, wayOut))
		for _, change := range []string{
			`{"metadata":{"labels":{"nexuscommerce.io/tenant":"globex"}}}`,
			`{"metadata":{"labels":{"nexuscommerce.io/tenant":null}}}`,
			`{"metadata":{"labels":null}}`,
		} {
			Expect(operator.Patch(ctx, made(ctx, "acme"), merge("%s", change))).To(beRefusedBy(policy, field, wayOut), change)
			Expect(operator.Status().Patch(ctx, made(ctx, "acme"), merge("%s", change))).To(beRefusedBy(policy, field, wayOut),
				change)
		}
		ns := made(ctx, "acme")
		ns.Labels["nexuscommerce.io/tenant"] = "globex"
		Expect(operator.SubResource("finalize").Update(ctx, ns)).To(beRefusedBy(policy, field, wayOut))
		Expect(operator.Update(ctx, ns)).To(beRefusedBy(policy, field, wayOut))
	})

	It("leaves everything else about a namespace alone", func(ctx SpecContext) {
		ns := made(ctx, "acme")
		Expect(operator.Patch(ctx, ns,
			merge(`{"metadata":{"labels":{"example.com/team":"b"},"annotations":{"example.com/a":"b"}}}`))).To(Succeed())
		Expect(operator.Status().Patch(ctx, ns, merge(`{"metadata":{"annotations":{"example.com/c":"d"}}}`))).To(Succeed())
		Expect(operator.Patch(ctx, made(ctx, ""), merge(`{"metadata":{"labels":null}}`))).To(Succeed())
		Expect(operator.Delete(ctx, ns)).To(Succeed())
	})

	It("lets who may update Tenants, and administrators, do all of it", func(ctx SpecContext) {
		for _, who := range []client.Client{owner, cp.Client} {
			ns := place("acme")
			Expect(who.Create(ctx, ns)).To(Succeed())
			Expect(who.Patch(ctx, ns, merge(`{"metadata":{"labels":{"nexuscommerce.io/tenant":"globex"}}}`))).To(Succeed())
			Expect(who.Patch(ctx, ns, merge(`{"metadata":{"labels":{"nexuscommerce.io/tenant":null}}}`))).To(Succeed())
		}
	})
})
