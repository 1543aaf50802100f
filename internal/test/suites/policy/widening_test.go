package policy_test

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// mutation changes a key.
type mutation = func(*keysv1alpha1.ApiKey)

func nothing(*keysv1alpha1.ApiKey) {}

func scopes(names ...keysv1alpha1.Scope) mutation {
	return func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = names }
}
func expiry(value keysv1alpha1.Expiry) mutation {
	return func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = value }
}
func cidrs(values ...keysv1alpha1.CIDR) mutation {
	return func(k *keysv1alpha1.ApiKey) { k.Spec.AllowedCIDRs = values }
}
func state(value keysv1alpha1.ApiKeyState) mutation {
	return func(k *keysv1alpha1.ApiKey) { k.Spec.State = value }
}
func rotation(every, overlap keysv1alpha1.Period) mutation {
	return func(k *keysv1alpha1.ApiKey) { k.Spec.Rotation = &keysv1alpha1.Rotation{Every: every, Overlap: overlap} }
}

func rotateAt(value string) mutation {
	return func(k *keysv1alpha1.ApiKey) {
		k.Annotations = map[string]string{keysv1alpha1.RotateAtAnnotation: value}
	}
}

// all returns a mutation that makes several.
func all(changes ...mutation) mutation {
	return func(k *keysv1alpha1.ApiKey) {
		for _, change := range changes {
			change(k)
		}
	}
}

var _ = Describe("Who may edit keys, and not create them,", func() {
	const policy, wayOut = "apikey-widening", " (ClusterRole admin or apikey-admin)"

	DescribeTable("takes away", func(ctx SpecContext, from, to mutation) {
		key := create(ctx, from)
		to(key)
		Expect(editor.Update(ctx, key)).To(Succeed())
	},
		Entry("revokes", nothing, state("Revoked")),
		Entry("revokes a suspended key", state("Suspended"), state("Revoked")),
		Entry("revokes, whatever comes with it", nothing, all(state("Revoked"), scopes("*"), rotation("30d", ""))),
		Entry("suspends", nothing, state("Suspended")),
		Entry("suspends and narrows", scopes("*"), all(state("Suspended"), scopes("products:read"))),
		Entry("leaves a suspended key suspended", state("Suspended"), all(state("Suspended"), expiry("30d"))),
		Entry("removes a scope", scopes("orders:read", "products:read"), scopes("products:read")),
		Entry("takes scopes in another order", scopes("orders:read", "products:read"),
			scopes("products:read", "orders:read")),
		Entry("replaces * by less", scopes("*"), scopes("products:*", "orders:read")),
		Entry("replaces an action's wildcard by one action", scopes("products:*", "orders:read"),
			scopes("products:read", "products:write")),
		Entry("shortens the expiry", expiry("90d"), expiry("30d")),
		Entry("shortens the expiry in another unit", expiry("31d"), expiry("4w")),
		Entry("shortens the expiry in hours", expiry("1d"), expiry("24h")),
		Entry("shortens the expiry in seconds", expiry("1h"), expiry("3600s")),
		Entry("shortens the expiry to a year", expiry("366d"), expiry("1y")),
		Entry("shortens the expiry from a year", expiry("1y"), expiry("365d")),
		Entry("shortens the expiry by a year", expiry("99y"), expiry("98y")),
		Entry("gives an expiry", expiry("Never"), expiry("99y")),
		Entry("gives an expiry where there was none", expiry(""), expiry("90d")),
		Entry("writes Never for nothing", expiry(""), expiry("Never")),
		Entry("writes nothing for Never", expiry("Never"), expiry("")),
		Entry("limits the addresses", nothing, cidrs("203.0.113.0/24", "2001:db8::/32")),
		Entry("removes a block", cidrs("203.0.113.0/24", "2001:db8::/32"), cidrs("2001:db8::/32")),
		Entry("replaces a block by parts of it", cidrs("203.0.113.0/24"), cidrs("203.0.113.0/25", "203.0.113.255/32")),
		Entry("replaces an IPv6 block by a part of it", cidrs("2001:db8::/32", "203.0.113.0/24"), cidrs("2001:db8:1::/48")),
		Entry("renames", nothing, func(k *keysv1alpha1.ApiKey) { k.Spec.DisplayName = "Another" }),
		Entry("renames to nothing", nothing, func(k *keysv1alpha1.ApiKey) { k.Spec.DisplayName = "" }),
		Entry("asks for a rotation", nothing, rotateAt("now")),
		Entry("labels", state("Suspended"),
			func(k *keysv1alpha1.ApiKey) { k.Labels = map[string]string{"example.com/team": "a"} }),
	)

	DescribeTable("doesn't give, which who may create keys does", func(ctx SpecContext, field string, from, to mutation) {
		key := create(ctx, from)
		before := key.DeepCopy()
		to(key)
		refused := beRefusedBy(policy, field, "ask somebody who may create ApiKeys in namespace "+namespace+wayOut)
		Expect(editor.Update(ctx, key.DeepCopy())).To(refused)
		Expect(editor.Patch(ctx, key.DeepCopy(), client.MergeFrom(before))).To(refused)
		Expect(author.Patch(ctx, key.DeepCopy(), client.MergeFrom(before), client.DryRunAll)).To(Succeed())
		Expect(author.Update(ctx, key)).To(Succeed())
	},
		Entry("a scope", "spec.scopes: you may take scopes away from this key, and not add orders:read: ", nothing,
			scopes("products:read", "orders:read")),
		Entry("another scope", "spec.scopes: ", scopes("products:read", "orders:read"), scopes("products:write")),
		Entry("a wildcard", "spec.scopes: you may take scopes away from this key, and not add products:*: ", nothing,
			scopes("products:*")),
		Entry("everything", "spec.scopes: ", scopes("products:*"), scopes("*")),
		Entry("a scope that only begins alike", "spec.scopes: ", scopes("products:*"), scopes("products-eu:read")),
		Entry("a scope beside narrowing", "spec.scopes: ", all(scopes("products:read"), expiry("90d")),
			all(scopes("orders:read"), expiry("30d"))),
		Entry("a scope to a key that it suspends", "spec.scopes: ", nothing, all(state("Suspended"), scopes("*"))),
		Entry("a longer expiry", "spec.expiry: ", expiry("30d"), expiry("90d")),
		Entry("a longer expiry in a smaller unit", "spec.expiry: ", expiry("1d"), expiry("90000s")),
		Entry("a year for 365 days, which may be one less", "spec.expiry: ", expiry("365d"), expiry("1y")),
		Entry("366 days for a year", "spec.expiry: ", expiry("1y"), expiry("366d")),
		Entry("no expiry", "spec.expiry: ", expiry("99y"), expiry("")),
		Entry("Never", "spec.expiry: ", expiry("90d"), expiry("Never")),
		Entry("every address", "spec.allowedCIDRs: without any block, every address is allowed", cidrs("203.0.113.0/24"),
			cidrs()),
		Entry("another block", "spec.allowedCIDRs: you may narrow this list, and no block of it contains 198.51.100.0/24: ",
			cidrs("203.0.113.0/24"), cidrs("203.0.113.0/24", "198.51.100.0/24")),
		Entry("a wider block", "spec.allowedCIDRs: ", cidrs("203.0.113.0/24"), cidrs("203.0.112.0/23")),
		Entry("every IPv6 address", "spec.allowedCIDRs: ", cidrs("0.0.0.0/0"), cidrs("::/0")),
		Entry("an end to a suspension", "spec.state: you may suspend or revoke this key, and not make it Active again: ",
			state("Suspended"), state("Active")),
		Entry("an end to a suspension by leaving the state out", "spec.state: ", state("Suspended"), state("")),
		Entry("a rotation", "spec.rotation: ", nothing, rotation("30d", "")),
		Entry("a token for longer", "spec.rotation: ", rotation("7d", "1h"), rotation("7d", "6d")),
		Entry("a token for ever", "spec.rotation: ", rotation("7d", ""),
			func(k *keysv1alpha1.ApiKey) { k.Spec.Rotation = nil }),
		Entry("a Secret that is copied elsewhere", "spec.secret: ", nothing, func(k *keysv1alpha1.ApiKey) {
			annotations := map[string]string{"reflector.v1.k8s.emberstack.com/reflection-allowed": "true"}
			k.Spec.Secret = &keysv1alpha1.SecretTemplate{Annotations: annotations}
		}),
		Entry("another Secret", "spec.secret: ",
			func(k *keysv1alpha1.ApiKey) { k.Spec.Secret = &keysv1alpha1.SecretTemplate{Name: "a"} },
			func(k *keysv1alpha1.ApiKey) { k.Spec.Secret = &keysv1alpha1.SecretTemplate{Name: "b"} }),
	)

	It("changes no field that the API is given later", func(ctx SpecContext) {
		// digest is immutable, and not found beside two of the others.
		spec := keysv1alpha1.ApiKeySpec{
			DisplayName:  "Full",
			Scopes:       []keysv1alpha1.Scope{"products:read"},
			Expiry:       "90d",
			AllowedCIDRs: []keysv1alpha1.CIDR{"203.0.113.0/24"},
			State:        keysv1alpha1.ApiKeySuspended,
			Rotation:     &keysv1alpha1.Rotation{Every: "30d"},
			Secret:       &keysv1alpha1.SecretTemplate{Name: "full"},
			Digest:       &keysv1alpha1.TokenDigest{SHA256: strings.Repeat("a", 64), Prefix: "nxc_live_7Hk2PqZx"},
		}
		filled := fields(spec)
		spec.Digest = nil
		key := create(ctx, func(k *keysv1alpha1.ApiKey) { k.Spec = spec })
		for name := range filled {
			remove := merge(`{"spec":{%q:null}}`, name)
			switch name {
			case "displayName":
				Expect(editor.Patch(ctx, key.DeepCopy(), remove, client.DryRunAll)).To(Succeed())
			case "scopes", "digest": // The one is required, the other never changes.
			default:
				Expect(editor.Patch(ctx, key.DeepCopy(), remove, client.DryRunAll)).To(beRefusedBy(policy, "spec."+name+": ",
					wayOut), name)
			}
		}
	})

	It("doesn't have an expired key issued again", func(ctx SpecContext) {
		key := issued(ctx, keysv1alpha1.ApiKeyStatus{Conditions: []metav1.Condition{
			{Type: keysv1alpha1.ConditionExpired, Status: metav1.ConditionTrue, Reason: "Expired",
				LastTransitionTime: metav1.Now()},
		}})
		ask := merge(`{"metadata":{"annotations":{%q:"now"}}}`, keysv1alpha1.RotateAtAnnotation)
		Expect(editor.Patch(ctx, key.DeepCopy(), ask)).To(beRefusedBy(policy,
			"metadata.annotations[keys.nexuscommerce.io/rotateAt]: ", wayOut))
		Expect(author.Patch(ctx, key.DeepCopy(), ask)).To(Succeed())
		again := merge(`{"metadata":{"annotations":{%q:"again"}}}`, keysv1alpha1.RotateAtAnnotation)
		Expect(editor.Patch(ctx, key.DeepCopy(), again)).To(beRefusedBy(policy,
			"metadata.annotations[keys.nexuscommerce.io/rotateAt]: ", wayOut))

		By("judging nothing else about it")
		Expect(editor.Patch(ctx, key.DeepCopy(), merge(`{"metadata":{"labels":{"example.com/team":"a"}}}`))).To(Succeed())
		Expect(editor.Patch(ctx, key.DeepCopy(), merge(`{"spec":{"displayName":"Expired"}}`))).To(Succeed())
		Expect(editor.Patch(ctx, key.DeepCopy(), merge(`{"metadata":{"annotations":null}}`))).To(Succeed())
		for i, annotations := range []string{`{"example.com/note":"hello"}`, "null"} {
			Expect(editor.Patch(ctx, key.DeepCopy(), client.RawPatch("application/apply-patch+yaml", fmt.Appendf(nil,
				`{"apiVersion":"keys.nexuscommerce.io/v1alpha1","kind":"ApiKey",
				"metadata":{"name":%q,"namespace":%q,"annotations":%s},"spec":{"displayName":"Expired %d"}}`,
				key.Name, key.Namespace, annotations, i)), client.FieldOwner("editor"), client.ForceOwnership)).To(Succeed())
		}
	})

	It("narrows and revokes the largest key there can be", func(ctx SpecContext) {
		long := func(i int) string { return fmt.Sprintf("%s%02d", strings.Repeat("a", 120), i) }
		key := create(ctx, func(k *keysv1alpha1.ApiKey) {
			k.Spec.Scopes, k.Spec.AllowedCIDRs = nil, nil
			for i := range 64 {
				k.Spec.Scopes = append(k.Spec.Scopes, keysv1alpha1.Scope(long(i)+":*"))
				k.Spec.AllowedCIDRs = append(k.Spec.AllowedCIDRs,
					keysv1alpha1.CIDR(fmt.Sprintf("2001:db8:ffff:ffff:ff%02x::/80", i)))
			}
		})
		for i := range 64 {
			key.Spec.Scopes[i] = keysv1alpha1.Scope(long(63-i) + ":read")
			key.Spec.AllowedCIDRs[i] = keysv1alpha1.CIDR(fmt.Sprintf("2001:db8:ffff:ffff:ff%02x:ffff:ffff:ffff/128", 63-i))
		}
		Expect(editor.Update(ctx, key)).To(Succeed())
		for i := range 64 {
			key.Spec.Scopes[i] = keysv1alpha1.Scope(long(i) + ":write")
		}
		Expect(editor.Update(ctx, key.DeepCopy())).To(beRefusedBy(policy, "spec.scopes: ", wayOut))
		Expect(author.Update(ctx, key)).To(Succeed())
		Expect(editor.Patch(ctx, key, merge(`{"spec":{"state":"Revoked"}}`))).To(Succeed())
	})
})
