package v1alpha1_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	. "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

var _ = Describe("kubectl get", Ordered, func() {
	BeforeAll(func(ctx SpecContext) {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "warehouse"}}
		Expect(cp.Client.Create(ctx, namespace)).To(Succeed())

		tenant := validTenant()
		Expect(cp.Client.Create(ctx, tenant)).To(Succeed())
		DeferCleanup(cp.Client.Delete, tenant)
		tenant.Status.Keys = "2/20"
		tenant.Status.Conditions = []metav1.Condition{ready()}
		Expect(cp.Client.Status().Update(ctx, tenant)).To(Succeed())

		policy := validAccessPolicy()
		policy.Spec.Hosts = []Host{"your-nexuscommerce.com"}
		Expect(cp.Client.Create(ctx, policy)).To(Succeed())
		DeferCleanup(cp.Client.Delete, policy)
		policy.Status = AccessPolicyStatus{Rules: new(int32(11)), Conditions: []metav1.Condition{ready()}}
		Expect(cp.Client.Status().Update(ctx, policy)).To(Succeed())

		key := validApiKey()
		key.Namespace, key.Name = "warehouse", "warehouse-integration"
		key.Spec.DisplayName = "Warehouse Integration"
		key.Spec.Scopes = []Scope{"inventory:read", "products:read"}
		Expect(cp.Client.Create(ctx, key)).To(Succeed())
		DeferCleanup(cp.Client.Delete, key)
		key.Status = ApiKeyStatus{
			Prefix: somePrefix, TenantID: tenant.Spec.ID, Expires: "2027-02-21", SecretName: "warehouse-token",
			Conditions: []metav1.Condition{ready()},
		}
		Expect(cp.Client.Status().Update(ctx, key)).To(Succeed())

		revoked := validApiKey()
		revoked.Namespace, revoked.Name = "warehouse", "old-import"
		revoked.Spec.State = ApiKeyRevoked
		Expect(cp.Client.Create(ctx, revoked)).To(Succeed())
		DeferCleanup(cp.Client.Delete, revoked)
	})

	get := func(ctx SpecContext, args ...string) []string {
		GinkgoHelper()
		out, err := cp.RunKubectl(ctx, append([]string{"get", "--namespace", "warehouse"}, args...)...)
		Expect(err).NotTo(HaveOccurred())
		return strings.Split(strings.TrimSpace(out), "\n")
	}
	// Columns are at least three spaces apart, and a name may contain a single space.
	columns := func(line string) []string {
		var names []string
		for name := range strings.SplitSeq(line, "   ") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			}
		}
		return names
	}

	It("shows keys as a list page does", func(ctx SpecContext) {
		lines := get(ctx, "nxkey")
		Expect(columns(lines[0])).To(Equal(
			[]string{"NAME", "DISPLAY NAME", "PREFIX", "SCOPES", "READY", "EXPIRES", "LAST USED", "AGE"},
		))
		Expect(lines[1:]).To(ContainElement(HavePrefix("warehouse-integration")))
		Expect(columns(get(ctx, "nxkey", "warehouse-integration", "--no-headers")[0])[:6]).To(Equal([]string{
			"warehouse-integration", "Warehouse Integration", somePrefix, `["inventory:read","products:read"]`, "True",
			"2027-02-21",
		}))
	})

	It("shows more of a key where there is room", func(ctx SpecContext) {
		lines := get(ctx, "apikeys", "--output", "wide")
		Expect(columns(lines[0])).To(Equal([]string{
			"NAME", "DISPLAY NAME", "PREFIX", "SCOPES", "READY", "EXPIRES", "LAST USED", "AGE", "TENANT", "STATE", "SECRET",
		}))
		Expect(lines[1:]).To(ContainElement(MatchRegexp(
			`^warehouse-integration .*3714240b-2e06-4c35-8856-ccc1c096323e +Active +warehouse-token$`,
		)))
	})

	It("shows tenants and what they use", func(ctx SpecContext) {
		lines := get(ctx, "tenants")
		Expect(columns(lines[0])).To(Equal([]string{"NAME", "TENANT ID", "BASE URL", "ENV", "KEYS", "READY", "AGE"}))
		Expect(columns(lines[1])[:6]).To(Equal([]string{
			"acme", "3714240b-2e06-4c35-8856-ccc1c096323e", "https://your-nexuscommerce.com/api", "Live", "2/20", "True",
		}))
	})

	It("shows policies by host", func(ctx SpecContext) {
		lines := get(ctx, "accesspolicies")
		Expect(columns(lines[0])).To(Equal([]string{"NAME", "HOSTS", "RULES", "READY", "AGE"}))
		Expect(columns(lines[1])[:4]).To(Equal([]string{"nexuscommerce", `["your-nexuscommerce.com"]`, "11", "True"}))
	})

	It("knows the category of all three", func(ctx SpecContext) {
		Expect(get(ctx, "nexuscommerce", "--output", "name")).To(ConsistOf(
			"apikey.keys.nexuscommerce.io/warehouse-integration", "apikey.keys.nexuscommerce.io/old-import",
			"tenant.keys.nexuscommerce.io/acme", "accesspolicy.keys.nexuscommerce.io/nexuscommerce",
		))
	})

	DescribeTable("selects by field", func(ctx SpecContext, kind, selector, want string) {
		Expect(get(ctx, kind, "--output", "name", "--field-selector", selector)).To(ConsistOf(want))
	},
		Entry("revoked keys", "nxkey", "spec.state=Revoked", "apikey.keys.nexuscommerce.io/old-import"),
		Entry(
			"active keys, by the default", "nxkey", "spec.state=Active", "apikey.keys.nexuscommerce.io/warehouse-integration",
		),
		Entry(
			"the key that has a prefix", "nxkey", "status.prefix="+somePrefix,
			"apikey.keys.nexuscommerce.io/warehouse-integration",
		),
		Entry(
			"a tenant's keys", "nxkey", "status.tenantID=3714240b-2e06-4c35-8856-ccc1c096323e",
			"apikey.keys.nexuscommerce.io/warehouse-integration",
		),
		Entry(
			"the tenant that has an id", "tenant", "spec.id=3714240b-2e06-4c35-8856-ccc1c096323e",
			"tenant.keys.nexuscommerce.io/acme",
		),
		Entry("no tenant by another id", "tenant", "spec.id=00000000-0000-0000-0000-000000000000", ""),
	)
})

func ready() metav1.Condition {
	return metav1.Condition{
		Type: ConditionReady, Status: metav1.ConditionTrue, Reason: ReasonReady, LastTransitionTime: someTime,
	}
}
