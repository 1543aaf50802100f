package v1alpha1_test

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	. "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

var someTime = metav1.NewTime(time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC))

func credentialNumber(i int) Credential {
	return Credential{ID: fmt.Sprintf("%08d", i), Digest: "sha256:" + someDigest, Root: 1, IssuedTime: someTime}
}

func usageNumber(i int) CredentialUsage {
	return CredentialUsage{ID: fmt.Sprintf("%08d", i), LastUsedTime: someTime}
}

func conditionNumber(i int) metav1.Condition {
	statuses := []metav1.ConditionStatus{metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown}
	return metav1.Condition{
		Type: fmt.Sprintf("Condition%d", i), Status: statuses[i%len(statuses)], Reason: "Reason",
		LastTransitionTime: someTime,
	}
}

// withCondition returns a status with one condition, which is valid except for a change.
func withCondition(change func(*metav1.Condition)) ApiKeyStatus {
	condition := conditionNumber(0)
	change(&condition)
	return ApiKeyStatus{Conditions: []metav1.Condition{condition}}
}

var _ = Describe("ApiKey status", func() {
	It("is not written with the spec, nor the spec with it", func(ctx SpecContext) {
		By("creating a key that brings its own grant")
		key := validApiKey()
		key.Status = ApiKeyStatus{Prefix: somePrefix, Scopes: []Scope{"*"}, Credentials: many(1, credentialNumber)}
		create(ctx, key)
		Expect(key.Status).To(Equal(ApiKeyStatus{ObservedGeneration: -1}))

		By("writing the status")
		granted := ApiKeyStatus{
			ObservedGeneration: 1, Prefix: somePrefix, Scopes: []Scope{"products:read"}, Credentials: many(1, credentialNumber),
		}
		key.Status = granted
		key.Spec.Scopes = []Scope{"*"}
		Expect(cp.Client.Status().Update(ctx, key)).To(Succeed())
		Expect(key.Spec.Scopes).To(ConsistOf(Scope("products:read")))
		Expect(key.Generation).To(BeEquivalentTo(1), "the status is not the spec's next generation")

		By("updating the spec beside a status that grants more")
		key.Spec.Scopes = []Scope{"products:read", "orders:read"}
		key.Status.Scopes = []Scope{"*"}
		Expect(cp.Client.Update(ctx, key)).To(Succeed())
		Expect(key.Generation).To(BeEquivalentTo(2))

		By("patching both at once")
		patched := reread(ctx, key)
		patched.Spec.DisplayName = "Warehouse Integration"
		patched.Status = ApiKeyStatus{}
		Expect(cp.Client.Patch(ctx, patched, client.MergeFrom(key))).To(Succeed())

		stored := reread(ctx, key)
		Expect(stored.Spec.DisplayName).To(Equal("Warehouse Integration"))
		Expect(stored.Status.Scopes).To(Equal(granted.Scopes))
		Expect(stored.Status.Prefix).To(Equal(granted.Prefix))
		Expect(stored.Status.Credentials).To(HaveLen(1))
	})

	DescribeTable("takes", func(ctx SpecContext, status ApiKeyStatus) {
		key := validApiKey()
		create(ctx, key)
		key.Status = status
		Expect(cp.Client.Status().Update(ctx, key, client.DryRunAll)).To(Succeed())
	},
		Entry("as much as there may be", ApiKeyStatus{
			Conditions:          many(16, conditionNumber),
			ObservedGeneration:  1,
			Prefix:              strings.Repeat("p", 40),
			TenantID:            "3714240b-2e06-4c35-8856-ccc1c096323e",
			Scopes:              many(64, scopeNumber),
			AllowedCIDRs:        many(64, cidrNumber),
			Credentials:         many(2, credentialNumber),
			IssuedTime:          &someTime,
			ExpiresTime:         &someTime,
			Expires:             "2026-11-23",
			LastUsedTime:        &someTime,
			Usage:               many(4, usageNumber),
			NextRotationTime:    &someTime,
			LastHandledRotateAt: strings.Repeat("r", 253),
			SecretName:          strings.Repeat("s", 253),
			Binding:             &Binding{Name: strings.Repeat("s", 253)},
		}),
		Entry("as little as there may be", ApiKeyStatus{
			Prefix: "p", TenantID: "t", Expires: "e", LastHandledRotateAt: "r", SecretName: "s", Binding: &Binding{Name: "s"},
			Credentials: []Credential{{ID: "7Hk2PqZx", Digest: "sha256:" + someDigest, IssuedTime: someTime}},
		}),
		Entry("scopes and blocks of every form", ApiKeyStatus{
			Scopes: []Scope{"*", "orders:*"}, AllowedCIDRs: []CIDR{"203.0.113.0/24", "2001:db8::/32"},
		}),
	)

	DescribeTable("refuses", func(ctx SpecContext, line string, status ApiKeyStatus) {
		key := validApiKey()
		create(ctx, key)
		key.Status = status
		Expect(cp.Client.Status().Update(ctx, key, client.DryRunAll)).To(beRefusedWith(line))
	},
		Entry("17 conditions", "status.conditions: Too many: 17: must have at most 16 items", ApiKeyStatus{
			Conditions: many(17, conditionNumber),
		}),
		Entry("two conditions of a type", "status.conditions[1]: Duplicate value: ", ApiKeyStatus{
			Conditions: many(2, func(int) metav1.Condition { return conditionNumber(0) }),
		}),
		Entry(
			"a condition that is neither true nor false nor unknown", `status.conditions[0].status: Unsupported value: "Maybe"`,
			withCondition(func(c *metav1.Condition) { c.Status = "Maybe" }),
		),
		Entry(
			"a condition's type with a space", `status.conditions[0].type: Invalid value: "Not Ready": `,
			withCondition(func(c *metav1.Condition) { c.Type = "Not Ready" }),
		),
		Entry(
			"a reason with a space", `status.conditions[0].reason: Invalid value: "No tenant": `,
			withCondition(func(c *metav1.Condition) { c.Reason = "No tenant" }),
		),
		Entry("a reason of 1025 characters", `status.conditions[0].reason: Too long: `, withCondition(
			func(c *metav1.Condition) { c.Reason = strings.Repeat("R", 1025) },
		)),
		Entry("a message of 32769 characters", `status.conditions[0].message: Too long: `, withCondition(
			func(c *metav1.Condition) { c.Message = strings.Repeat("m", 32769) },
		)),
		Entry(
			"a condition of a generation before the first", `status.conditions[0].observedGeneration: Invalid value: -1: `,
			withCondition(func(c *metav1.Condition) { c.ObservedGeneration = -1 }),
		),
		Entry(
			"a generation before none", "status.observedGeneration: Invalid value: -2: ", ApiKeyStatus{ObservedGeneration: -2},
		),
		Entry("a prefix of 41 characters", "status.prefix: Too long: may not be more than 40", ApiKeyStatus{
			Prefix: strings.Repeat("p", 41),
		}),
		Entry("a tenant's ID of 37 characters", "status.tenantID: Too long: may not be more than 36", ApiKeyStatus{
			TenantID: strings.Repeat("t", 37),
		}),
		Entry(
			"65 scopes", "status.scopes: Too many: 65: must have at most 64 items", ApiKeyStatus{Scopes: many(65, scopeNumber)},
		),
		Entry(
			"the same scope twice", `status.scopes[1]: Duplicate value: "a:b"`, ApiKeyStatus{Scopes: []Scope{"a:b", "a:b"}},
		),
		Entry("a scope that is none", `status.scopes[0]: Invalid value: "everything": `+badScope, ApiKeyStatus{
			Scopes: []Scope{"everything"},
		}),
		Entry("65 blocks", "status.allowedCIDRs: Too many: 65: must have at most 64 items", ApiKeyStatus{
			AllowedCIDRs: many(65, cidrNumber),
		}),
		Entry("the same block twice", `status.allowedCIDRs[1]: Duplicate value: "::/0"`, ApiKeyStatus{
			AllowedCIDRs: []CIDR{"::/0", "::/0"},
		}),
		Entry("a block that is none", `status.allowedCIDRs[0]: Invalid value: "10.0.0.1": `+badCIDR, ApiKeyStatus{
			AllowedCIDRs: []CIDR{"10.0.0.1"},
		}),
		Entry("host bits", `status.allowedCIDRs[0]: Invalid value: "10.0.0.1/8": `+hostBits, ApiKeyStatus{
			AllowedCIDRs: []CIDR{"10.0.0.1/8"},
		}),
		Entry("three credentials", "status.credentials: Too many: 3: must have at most 2 items", ApiKeyStatus{
			Credentials: many(3, credentialNumber),
		}),
		Entry("two credentials with an ID", "status.credentials[1]: Duplicate value: ", ApiKeyStatus{
			Credentials: many(2, func(int) Credential { return credentialNumber(0) }),
		}),
		Entry("a credential's ID of 9 characters", "status.credentials[0].id: Too long: may not be more than 8", ApiKeyStatus{
			Credentials: []Credential{{ID: "123456789", Digest: "sha256:" + someDigest, IssuedTime: someTime}},
		}),
		Entry("a credential's ID of 7 characters", `status.credentials[0].id: Invalid value: "1234567": `, ApiKeyStatus{
			Credentials: []Credential{{ID: "1234567", Digest: "sha256:" + someDigest, IssuedTime: someTime}},
		}),
		Entry("a credential without an ID", "status.credentials[0].id: Required value", ApiKeyStatus{
			Credentials: []Credential{{Digest: "sha256:" + someDigest, IssuedTime: someTime}},
		}),
		Entry("a digest of 65 digits", "status.credentials[0].digest: Too long: may not be more than 71", ApiKeyStatus{
			Credentials: []Credential{{ID: "7Hk2PqZx", Digest: "sha256:0" + someDigest, IssuedTime: someTime}},
		}),
		Entry("a digest of 63 digits", `status.credentials[0].digest: Invalid value: "sha256:`, ApiKeyStatus{
			Credentials: []Credential{{ID: "7Hk2PqZx", Digest: "sha256:" + someDigest[1:], IssuedTime: someTime}},
		}),
		Entry("a credential without a digest", "status.credentials[0].digest: Required value", ApiKeyStatus{
			Credentials: []Credential{{ID: "7Hk2PqZx", IssuedTime: someTime}},
		}),
		Entry("a credential that was never issued", "status.credentials[0].issuedTime: Required value", ApiKeyStatus{
			Credentials: []Credential{{ID: "7Hk2PqZx", Digest: "sha256:" + someDigest}},
		}),
		Entry("a root key before the first", "status.credentials[0].root: Invalid value: -1: ", ApiKeyStatus{
			Credentials: []Credential{{ID: "7Hk2PqZx", Digest: "sha256:" + someDigest, Root: -1, IssuedTime: someTime}},
		}),
		Entry(
			"a date of 11 characters", "status.expires: Too long: may not be more than 10", ApiKeyStatus{Expires: "2026-11-23Z"},
		),
		Entry("usage of 5 credentials", "status.usage: Too many: 5: must have at most 4 items", ApiKeyStatus{
			Usage: many(5, usageNumber),
		}),
		Entry("usage of a credential twice", "status.usage[1]: Duplicate value: ", ApiKeyStatus{
			Usage: many(2, func(int) CredentialUsage { return usageNumber(0) }),
		}),
		Entry("usage of an ID of 9 characters", "status.usage[0].id: Too long: may not be more than 8", ApiKeyStatus{
			Usage: []CredentialUsage{{ID: "123456789", LastUsedTime: someTime}},
		}),
		Entry("usage of an ID of 7 characters", `status.usage[0].id: Invalid value: "1234567": `, ApiKeyStatus{
			Usage: []CredentialUsage{{ID: "1234567", LastUsedTime: someTime}},
		}),
		Entry("usage of no credential", "status.usage[0].id: Required value", ApiKeyStatus{
			Usage: []CredentialUsage{{LastUsedTime: someTime}},
		}),
		Entry("usage at no time", "status.usage[0].lastUsedTime: Required value", ApiKeyStatus{
			Usage: []CredentialUsage{{ID: "7Hk2PqZx"}},
		}),
		Entry("254 characters of rotateAt", "status.lastHandledRotateAt: Too long: may not be more than 253", ApiKeyStatus{
			LastHandledRotateAt: strings.Repeat("r", 254),
		}),
		Entry("a Secret's name of 254 characters", "status.secretName: Too long: may not be more than 253", ApiKeyStatus{
			SecretName: strings.Repeat("s", 254),
		}),
		Entry("a binding to nothing", "status.binding.name: Required value", ApiKeyStatus{Binding: &Binding{}}),
		Entry("a binding to 254 characters", "status.binding.name: Too long: may not be more than 253", ApiKeyStatus{
			Binding: &Binding{Name: strings.Repeat("s", 254)},
		}),
	)

	It("counts root keys from 1", func(ctx SpecContext) {
		key := validApiKey()
		create(ctx, key)
		credential := map[string]any{
			"id": "7Hk2PqZx", "digest": "sha256:" + someDigest, "issuedTime": "2026-11-23T12:00:00Z", "root": int64(0),
		}
		Expect(cp.Client.Status().Update(ctx, with(key, []any{credential}, "status", "credentials"), client.DryRunAll)).To(
			beRefusedWith("status.credentials[0].root: Invalid value: 0: "))
	})

	DescribeTable("refuses, empty,", func(ctx SpecContext, path string, fields ...string) {
		key := validApiKey()
		create(ctx, key)
		Expect(cp.Client.Status().Update(ctx, with(key, "", fields...), client.DryRunAll)).To(beRefusedAsTooShort(path))
	},
		Entry("a prefix", "status.prefix", "status", "prefix"),
		Entry("a tenant's ID", "status.tenantID", "status", "tenantID"),
		Entry("a date", "status.expires", "status", "expires"),
		Entry("a value of rotateAt", "status.lastHandledRotateAt", "status", "lastHandledRotateAt"),
		Entry("a Secret's name", "status.secretName", "status", "secretName"),
		Entry("a binding's", "status.binding.name", "status", "binding", "name"),
	)
})
