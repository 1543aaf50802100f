package apikey_test

import (
	"context"
	"errors"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

var _ = Describe("Minting", func() {
	It("puts a token into a Secret and its digest into status", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		expectReady(ctx, key)

		status := key.Status
		Expect(status.Credentials).To(HaveLen(1))
		Expect(status.Prefix).To(Equal("nxc_live_" + status.Credentials[0].ID))
		Expect(status.TenantID).To(Equal(env.tenant.Spec.ID))
		Expect(status.Scopes).To(ConsistOf(keysv1alpha1.Scope("products:read")))
		Expect(status.IssuedTime.Time).To(BeTemporally("~", env.clock.Now(), time.Second))
		Expect(status.ExpiresTime.Time).To(Equal(status.IssuedTime.Add(90 * 24 * time.Hour)))
		Expect(status.Expires).To(Equal(status.ExpiresTime.UTC().Format("2006-01-02")))
		Expect(status.Credentials[0].Root).To(BeEquivalentTo(1))
		Expect(status.Credentials[0].PublishedTime).NotTo(BeNil())
		Expect(status.SecretName).To(Equal(key.Name))
		Expect(status.Binding.Name).To(Equal(key.Name))
		Expect(condition(key, "Admitted")).To(Equal("True/Admitted"))
		Expect(condition(key, "Published")).To(Equal("True/Issued"))
		Expect(condition(key, "Expired")).To(Equal("False/NotExpired"))
	})

	It("gives the Secret all that a workload needs", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx, func(k *keysv1alpha1.ApiKey) {
			k.Labels = map[string]string{"app.kubernetes.io/instance": "argo", "kustomize.toolkit.fluxcd.io/name": "flux"}
			k.Spec.Secret = &keysv1alpha1.SecretTemplate{
				Name:        "shaped",
				Labels:      map[string]keysv1alpha1.LabelValue{"team": "warehouse"},
				Annotations: map[string]string{"example.com/note": "hello"},
				Data: map[string]keysv1alpha1.Template{
					"config.ini": "[api]\nurl = {{.APIBaseURL}}\nkey = {{.Token}}\n",
					"NAME":       "{{.DisplayName}}",
				},
			}
		})
		expectReady(ctx, key)
		secret := secretOf(ctx, key)
		Expect(secret.Name).To(Equal("shaped"))
		token := string(secret.Data["token"])
		expectSame(string(secret.Data["authorization"]), "Bearer "+token)
		expectSame(string(secret.Data["config.ini"]), "[api]\nurl = "+env.tenant.Spec.APIBaseURL+"\nkey = "+token+"\n")
		for name, want := range map[string]string{
			"tenantId":   env.tenant.Spec.ID,
			"apiBaseUrl": env.tenant.Spec.APIBaseURL,
			"uri":        env.tenant.Spec.APIBaseURL,
			"prefix":     key.Status.Prefix,
			"expiresAt":  key.Status.ExpiresTime.UTC().Format(time.RFC3339),
			"type":       "nexuscommerce",
			"provider":   "nexuscommerce",
			"NAME":       "Warehouse Integration",
		} {
			Expect(string(secret.Data[name])).To(Equal(want), name)
		}
		Expect(secret.Type).To(Equal(corev1.SecretType("servicebinding.io/nexuscommerce")))
		Expect(secret.Labels).To(HaveKeyWithValue("team", "warehouse"))
		Expect(secret.Annotations).To(HaveKeyWithValue("example.com/note", "hello"))
		Expect(secret.Labels).NotTo(HaveKey("app.kubernetes.io/instance"))
		Expect(secret.Labels).NotTo(HaveKey("kustomize.toolkit.fluxcd.io/name"))
	})

	It("makes test tokens for tenants of the test environment", func(ctx SpecContext) {
		env := newEnvironment(ctx, func(t *keysv1alpha1.Tenant) { t.Spec.Environment = keysv1alpha1.EnvironmentTest })
		key := env.create(ctx)
		expectReady(ctx, key)
		Expect(key.Status.Prefix).To(HavePrefix("nxc_test_"))
	})

	It("never expires a key without an expiry", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx, func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "" })
		expectReady(ctx, key)
		Expect(key.Status.ExpiresTime).To(BeNil())
		Expect(key.Status.Expires).To(Equal("Never"))
		Expect(string(secretOf(ctx, key).Data["expiresAt"])).To(Equal("Never"))
	})

	It("takes a place in the tenant's ledger", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		read(ctx, env.tenant)
		Expect(env.tenant.Status.ActiveKeys).To(HaveLen(1))
		Expect(env.tenant.Status.ActiveKeys[0].UID).To(Equal(string(key.UID)))
		place := env.tenant.Status.ActiveKeys[0]
		Expect(place.Namespace + "/" + place.Name).To(Equal(key.Namespace + "/" + key.Name))
		Expect(env.tenant.Status.Keys).To(Equal("1/20"))
	})

	It("needs four writes, and none when nothing changes", func(ctx SpecContext) {
		// L4. It fails when the comparison at the top of status.Patch, or the one before the Update in
		// publication.Store.apply, is removed.
		env := newEnvironment(ctx)
		env.create(ctx) // So that the root key is there.
		env.client.writes = 0
		key := env.create(ctx)
		Expect(env.client.writes).To(Equal(4), "ledger, announcement, Secret, record")
		version := key.ResourceVersion
		env.client.writes = 0
		for range 3 {
			env.reconcile(ctx, key)
		}
		Expect(env.client.writes).To(BeZero())
		Expect(key.ResourceVersion).To(Equal(version))
	})

	It("says so in one event, whose reason is the condition's", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		env.reconcile(ctx, key)
		Expect(env.events.Events).To(HaveLen(1))
		Expect(<-env.events.Events).To(HavePrefix("Normal Issued "))
	})

	It("keeps one immutable root key", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		env.create(ctx)
		roots := &corev1.SecretList{}
		inSystem, isRoot := client.InNamespace(controlplane.SystemNamespace), client.HasLabels{keysv1alpha1.RootLabel}
		Expect(cp.Client.List(ctx, roots, inSystem, isRoot)).To(Succeed())
		Expect(roots.Items).To(HaveLen(1))
		Expect(roots.Items[0].Name).To(Equal("apikey-root-1"))
		Expect(*roots.Items[0].Immutable).To(BeTrue())
		Expect(roots.Items[0].Data).To(HaveKeyWithValue("key", HaveLen(32)))
	})

	// It fails when rootkeys.Store.Newest takes a cache's word for that there is no root key.
	It("makes no second root key where the cache has not seen the first", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		env.create(ctx)
		env.controller = env.newController(env.client, func(o *apikey.Options) { o.Roots = noSecrets{env.client, nil} })
		Expect(env.create(ctx).Status.Credentials[0].Root).To(BeEquivalentTo(1))
	})

	It("asks the cache for root keys, and nobody else where it has one", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		env.create(ctx)
		env.controller = env.newController(env.client, func(o *apikey.Options) {
			o.Live, o.Roots = noSecrets{env.client, errors.New("listed live")}, env.client
		})
		Expect(env.create(ctx).Status.Credentials[0].Root).To(BeEquivalentTo(1))
	})

	It("leaves the canary alone", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx, func(k *keysv1alpha1.ApiKey) {
			k.Labels = map[string]string{keysv1alpha1.CanaryLabel: "true"}
		})
		Expect(key.Status).To(Equal(keysv1alpha1.ApiKeyStatus{ObservedGeneration: key.Generation}), "seen, and no more")
		env.client.writes = 0
		env.reconcile(ctx, key)
		Expect(env.client.writes).To(BeZero())
	})

	It("registers a token made elsewhere by its digest, and writes no Secret", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		const digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
		key := env.create(ctx, func(k *keysv1alpha1.ApiKey) {
			k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: digest, Prefix: "nxc_live_7Hk2PqZx"}
		})
		Expect(condition(key, "Ready")).To(Equal("True/Ready"))
		Expect(condition(key, "Published")).To(Equal("True/Registered"))
		Expect(key.Status.Credentials[0].Digest).To(Equal("sha256:" + digest))
		Expect(key.Status.Prefix).To(Equal("nxc_live_7Hk2PqZx"))
		Expect(key.Status.SecretName).To(BeEmpty())
		secrets := &corev1.SecretList{}
		Expect(cp.Client.List(ctx, secrets, client.InNamespace(key.Namespace))).To(Succeed())
		Expect(secrets.Items).To(BeEmpty())
	})
})

// noSecrets lists no Secrets: because there are none that it has seen, or for an error.
type noSecrets struct {
	client.Reader
	err error
}

func (c noSecrets) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if _, ok := list.(*corev1.SecretList); ok {
		return c.err
	}
	return c.Reader.List(ctx, list, options...)
}
