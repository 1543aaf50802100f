package v1alpha1_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	. "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/released"
)

var _ = Describe("Changes of an ApiKey", func() {
	It("takes changes of a key that has what was taken before there was a rule", func(ctx SpecContext) {
		key := validApiKey()
		key.Spec.DisplayName = "x\ny"
		all(data(
			map[string]Template{"a": "{{index .Scopes 0}}", "b": "{{.Token}}"},
		), rotation(Rotation{Every: "2s", Overlap: "1s"}))(&key.Spec)
		Expect(released.Under(ctx, cp.Client, "apikeys", func() error {
			key.SetName("")
			key.SetGenerateName("former-")
			return cp.Client.Create(ctx, key)
		})).To(Succeed())
		for _, change := range []keyChange{
			state(ApiKeySuspended), expiry("30d"), func(s *ApiKeySpec) {
				s.Secret.Data["b"] = "{{ .Token | json }}"
			}, func(s *ApiKeySpec) { s.Secret.Data["c"] = "c" },
			state(ApiKeyRevoked),
		} {
			change(&key.Spec)
			Expect(cp.Client.Update(ctx, key)).To(Succeed())
		}
		key.Status.ObservedGeneration = 1
		Expect(cp.Client.Status().Update(ctx, key)).To(Succeed())
		key.Spec.Secret.Data["a"] = "{{index .Scopes 1}}"
		Expect(cp.Client.Update(ctx, key)).To(beRefusedWith("spec.secret.data[a]: Invalid value: "))
		key.Spec.Secret.Data["a"], key.Spec.DisplayName = "{{.Name}}", "x\nz"
		Expect(cp.Client.Update(ctx, key)).To(beRefusedWith("spec.displayName: Invalid value: "))
		key.Spec.DisplayName = "xz"
		Expect(cp.Client.Update(ctx, key)).To(Succeed())
		Expect(cp.Client.Delete(ctx, key)).To(Succeed())
	})

	It("can be suspended, made active again, and revoked", func(ctx SpecContext) {
		key := validApiKey()
		create(ctx, key)
		for _, next := range []ApiKeyState{ApiKeySuspended, ApiKeyActive, ApiKeyRevoked, ApiKeyRevoked} {
			key.Spec.State = next
			Expect(cp.Client.Update(ctx, key)).To(Succeed())
		}
		key.Spec.DisplayName = "A note on why"
		Expect(cp.Client.Update(ctx, key)).To(Succeed())
	})

	DescribeTable("stays revoked", func(ctx SpecContext, from ApiKeyState, patch client.Patch) {
		const comeback = "spec.state: Invalid value: \"Active\": a revoked key can't come back: create another ApiKey"
		key := validApiKey()
		key.Spec.State = from
		create(ctx, key)
		key.Spec.State = ApiKeyRevoked
		Expect(cp.Client.Update(ctx, key)).To(Succeed())

		Expect(cp.Client.Patch(ctx, key, patch)).To(beRefusedWith(comeback))
		Expect(reread(ctx, key).Spec.State).To(Equal(ApiKeyRevoked))
	},
		Entry(
			"when set to Active", ApiKeyActive, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"state":"Active"}}`)),
		),
		Entry("when set to null", ApiKeyActive, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"state":null}}`))),
		Entry("when the field is removed", ApiKeySuspended, client.RawPatch(
			types.JSONPatchType, []byte(`[{"op":"remove","path":"/spec/state"}]`),
		)),
		Entry("when the spec is replaced by one without it", ApiKeySuspended,
			client.RawPatch(types.JSONPatchType, []byte(`[{"op":"replace","path":"/spec","value":{"scopes":["a:b"]}}]`))),
	)

	It("stays revoked when set to Suspended", func(ctx SpecContext) {
		key := validApiKey()
		key.Spec.State = ApiKeyRevoked
		create(ctx, key)
		key.Spec.State = ApiKeySuspended
		Expect(cp.Client.Update(ctx, key)).To(beRefusedWith(
			"spec.state: Invalid value: \"Suspended\": a revoked key can't come back: create another ApiKey",
		))
	})

	It("stays revoked when whoever revoked it applies it without a state", func(ctx SpecContext) {
		key := validApiKey()
		create(ctx, key)
		apply := func(value any) error {
			config := with(validApiKey(), value, "spec", "state")
			config.SetName(key.Name)
			return cp.Client.Apply(
				ctx, client.ApplyConfigurationFromUnstructured(config), client.FieldOwner("test"), client.ForceOwnership,
			)
		}
		Expect(apply("Revoked")).To(Succeed())
		Expect(apply(nil)).To(beRefusedWith("spec.state: Invalid value: \"Active\": a revoked key can't come back"))
	})
})
