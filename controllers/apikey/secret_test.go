package apikey_test

import (
	"context"
	"encoding/json"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

var _ = Describe("The Secret", func() {
	DescribeTable("is restored with the same token when somebody",
		func(ctx SpecContext, damage func(context.Context, *corev1.Secret) error) {
			env := newEnvironment(ctx)
			key := env.create(ctx)
			secret, credentials := secretOf(ctx, key), key.Status.Credentials
			Expect(damage(ctx, secret.DeepCopy())).To(Succeed())
			env.reconcile(ctx, key)
			expectReady(ctx, key)
			Expect(key.Status.Credentials).To(Equal(credentials))
			restored := secretOf(ctx, key)
			Expect(restored.Type).To(Equal(secret.Type))
			Expect(restored.OwnerReferences).To(Equal(secret.OwnerReferences))
			for name := range secret.Labels {
				Expect(restored.Labels).To(HaveKeyWithValue(name, secret.Labels[name]))
			}
			for name := range secret.Data {
				expectSame(string(restored.Data[name]), string(secret.Data[name]))
			}
			Expect(restored.Data).To(HaveLen(len(secret.Data)))
		},
		Entry("deletes it", func(ctx context.Context, s *corev1.Secret) error { return cp.Client.Delete(ctx, s) }),
		Entry("changes the token", func(ctx context.Context, s *corev1.Secret) error {
			s.Data["token"] = []byte("nonsense")
			return cp.Client.Update(ctx, s)
		}),
		Entry("removes an entry", func(ctx context.Context, s *corev1.Secret) error {
			delete(s.Data, "prefix")
			return cp.Client.Update(ctx, s)
		}),
		Entry("adds an entry", func(ctx context.Context, s *corev1.Secret) error {
			s.Data["extra"] = []byte("x")
			return cp.Client.Update(ctx, s)
		}),
		Entry("strips its labels", func(ctx context.Context, s *corev1.Secret) error {
			s.Labels = nil
			return cp.Client.Update(ctx, s)
		}),
		Entry("strips its owner reference", func(ctx context.Context, s *corev1.Secret) error {
			s.OwnerReferences = nil
			return cp.Client.Update(ctx, s)
		}),
		Entry("strips its labels and its owner reference", func(ctx context.Context, s *corev1.Secret) error {
			s.Labels, s.OwnerReferences = nil, nil
			return cp.Client.Update(ctx, s)
		}),
		Entry("makes it immutable with another content", func(ctx context.Context, s *corev1.Secret) error {
			immutable := true
			s.Immutable, s.Data["token"] = &immutable, []byte("nonsense")
			return cp.Client.Update(ctx, s)
		}),
		Entry("creates it again with another type", func(ctx context.Context, s *corev1.Secret) error {
			if err := cp.Client.Delete(ctx, s); err != nil {
				return err
			}
			s.ResourceVersion, s.UID, s.Type = "", "", corev1.SecretTypeOpaque
			return cp.Client.Create(ctx, s)
		}),
	)

	It("loses labels and annotations that its key no longer asks for, and keeps other people's", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx, func(key *keysv1alpha1.ApiKey) {
			key.Spec.Secret = &keysv1alpha1.SecretTemplate{
				Labels:      map[string]keysv1alpha1.LabelValue{"team": "a", "stays": "l"},
				Annotations: map[string]string{"example.com/copy": "1", "example.com/stays": "a"},
			}
		})
		secret := secretOf(ctx, key)
		Expect(secret.Annotations).To(HaveKeyWithValue("example.com/copy", "1"))
		secret.Labels["others"], secret.Annotations["example.com/others"] = "o", "o"
		Expect(cp.Client.Update(ctx, secret)).To(Succeed())

		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) {
			k.Spec.Secret.Labels = map[string]keysv1alpha1.LabelValue{"stays": "l"}
			k.Spec.Secret.Annotations = map[string]string{"example.com/stays": "a"}
		})
		secret = secretOf(ctx, key)
		Expect(secret.Labels).To(And(HaveKeyWithValue("stays", "l"), HaveKeyWithValue("others", "o"), Not(HaveKey("team"))))
		Expect(secret.Annotations).To(And(HaveKeyWithValue("example.com/stays", "a"),
			HaveKeyWithValue("example.com/others", "o"), Not(HaveKey("example.com/copy"))))

		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.Secret = nil })
		secret = secretOf(ctx, key)
		Expect(secret.Labels).To(And(HaveKeyWithValue("others", "o"), Not(HaveKey("stays")),
			HaveKeyWithValue(keysv1alpha1.ManagedByLabel, keysv1alpha1.ManagedByValue)))
		Expect(secret.Annotations).To(Equal(map[string]string{"example.com/others": "o"}))
		expectReady(ctx, key)
	})

	It("leaves other people's labels and annotations on it", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		secret := secretOf(ctx, key)
		secret.Labels["example.com/theirs"] = "yes"
		secret.Annotations = map[string]string{"example.com/theirs": "yes"}
		Expect(cp.Client.Update(ctx, secret)).To(Succeed())
		env.client.writes = 0
		env.reconcile(ctx, key)
		expectReady(ctx, key)
		Expect(env.client.writes).To(BeZero())
	})

	DescribeTable("is never taken from somebody else (S5)",
		// It fails when the check of belongsTo in publication.Store.apply is removed.
		func(ctx SpecContext, foreign func(*keysv1alpha1.ApiKey) *corev1.Secret, want string) {
			env := newEnvironment(ctx)
			key := fixture.ApiKey(env.namespace.Name, fixture.Name("key"))
			Expect(cp.Client.Create(ctx, key)).To(Succeed())
			theirs := foreign(key)
			theirs.Namespace, theirs.Name = key.Namespace, key.Name
			Expect(cp.Client.Create(ctx, theirs)).To(Succeed())
			before := bytesOf(ctx, theirs)

			env.reconcile(ctx, key)
			Expect(condition(key, "Ready")).To(Equal(want))
			env.reconcile(ctx, key)
			env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
			expectAtRest(key, "Revoked")
			Expect(bytesOf(ctx, theirs)).To(Equal(before))
		},
		Entry("who has a Secret of that name", func(*keysv1alpha1.ApiKey) *corev1.Secret {
			return &corev1.Secret{Data: map[string][]byte{"password": []byte("theirs")}}
		}, "False/SecretConflict"),
		Entry("whose ApiKey owns it", func(*keysv1alpha1.ApiKey) *corev1.Secret {
			return ownedBy("another")
		}, "False/SecretConflict"),
		Entry("whose deleted ApiKey of the same name owned it", func(k *keysv1alpha1.ApiKey) *corev1.Secret {
			return ownedBy(k.Name)
		}, "Unknown/AwaitingDeletion"),
	)

	It("is published once somebody else's is out of the way", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := fixture.ApiKey(env.namespace.Name, fixture.Name("key"))
		theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		Expect(cp.Client.Create(ctx, theirs)).To(Succeed())
		Expect(cp.Client.Create(ctx, key)).To(Succeed())
		result := env.reconcile(ctx, key)
		expectRefused(key, "SecretConflict",
			"does not belong to this key: remove it, or set another name in spec.secret.name")
		Expect(result.RequeueAfter).To(BeNumerically(">", 0), "nothing else would bring the key back")
		Expect(cp.Client.Delete(ctx, theirs)).To(Succeed())
		env.reconcile(ctx, key)
		expectReady(ctx, key)
	})

	It("is refused with the name of the quota that is exceeded, and written once there is room", func(ctx SpecContext) {
		// It fails when every error of the API server is only retried.
		env := newEnvironment(ctx)
		quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace.Name, Name: "no-secrets"}}
		quota.Spec.Hard = corev1.ResourceList{"count/secrets": resource.MustParse("0")}
		Expect(cp.Client.Create(ctx, quota)).To(Succeed())
		// kube-controller-manager does this in a cluster.
		quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: quota.Spec.Hard}
		Expect(cp.Client.Status().Update(ctx, quota)).To(Succeed())
		Eventually(func() error {
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: env.namespace.Name, Name: "a"}}
			return cp.Client.Create(ctx, secret, client.DryRunAll)
		}).Should(MatchError(ContainSubstring("exceeded quota")))
		key := fixture.ApiKey(env.namespace.Name, fixture.Name("key"))
		Expect(cp.Client.Create(ctx, key)).To(Succeed())
		result := env.reconcile(ctx, key)
		expectRefused(key, "SecretRefused", "exceeded quota: no-secrets, requested: count/secrets=1")
		Expect(condition(key, "Published")).To(Equal("False/SecretRefused"))
		Expect(result.RequeueAfter).To(Equal(time.Minute), "nothing else would bring the key back")
		Expect(env.events.Events).To(Receive(And(HavePrefix("Warning SecretRefused "), ContainSubstring("no-secrets"))))
		env.client.writes = 0
		env.reconcile(ctx, key)
		Expect(env.client.writes).To(Equal(1), "the attempt")
		Expect(cp.Client.Delete(ctx, quota)).To(Succeed())
		Eventually(func(g Gomega) {
			env.reconcile(ctx, key)
			g.Expect(condition(key, "Ready")).To(Equal("True/Ready"))
		}).Should(Succeed())
		expectReady(ctx, key)
	})

	It("moves when its name changes, and leaves no copy of the token", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		key := env.create(ctx)
		former := secretOf(ctx, key)
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.Secret = &keysv1alpha1.SecretTemplate{Name: "renamed"} })
		expectReady(ctx, key)
		Expect(key.Status.SecretName).To(Equal("renamed"))
		Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(former), former)).To(MatchError(ContainSubstring("not found")))
	})

	It("keeps working when the root key is lost, and no other token is minted under its id (S4)", func(ctx SpecContext) {
		// It fails when the comparison of digests in rootkeys.Store.Derive is removed.
		env := newEnvironment(ctx)
		key := env.create(ctx)
		env.loseRoot(ctx)
		credentials := key.Status.Credentials
		env.reconcile(ctx, key)
		expectReady(ctx, key)
		Expect(message(key, "Published")).To(ContainSubstring("root key 1 is gone. Rotate the key."))

		Expect(cp.Client.Delete(ctx, secretOf(ctx, key))).To(Succeed())
		env.reconcile(ctx, key)
		Expect(env.reconcile(ctx, key).RequeueAfter).To(Equal(time.Minute), "so that a restored root key is noticed")
		expectRefused(key, "RootKeyLost", "restore the Secret apikey-root-1")
		Expect(key.Status.Credentials).To(Equal(credentials))

		By("asking for another token")
		env.update(ctx, key, requestRotation("now"))
		expectReady(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(2))
	})

	It("gets another token on request when the root key is lost in the middle of a rotation", func(ctx SpecContext) {
		// It fails when Rotate.stuck always returns false.
		env := newEnvironment(ctx)
		key := env.create(ctx)
		canary := newCanary(ctx)
		canary.says(ctx, "verifier-1", "1")
		env.reconcile(ctx, canary.key)
		env.update(ctx, key, requestRotation("once"))
		Expect(key.Status.Credentials).To(HaveLen(2))
		lost := key.Status.Credentials[1].ID
		env.loseRoot(ctx)
		canary.says(ctx, "verifier-1", key.ResourceVersion)
		env.reconcile(ctx, key)
		expectRefused(key, "RootKeyLost", "ask for another token")
		Expect(key.Status.Credentials[1].ID).To(Equal(lost), "nobody has asked for another")

		canary.says(ctx, "verifier-1", "99999999999")
		env.update(ctx, key, requestRotation("again"))
		expectReady(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(2))
		Expect(key.Status.Credentials[1].ID).NotTo(Equal(lost))
		Expect(key.Status.Credentials[0].ValidUntil).NotTo(BeNil())
	})

	It("is restored for a key that asks for more than it may have", func(ctx SpecContext) {
		// It fails when the step publication.Keep does not keep what is published.
		env := newEnvironment(ctx)
		key := env.create(ctx)
		want := string(secretOf(ctx, key).Data["token"])
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = []keysv1alpha1.Scope{"reviews:read"} })
		expectRefused(key, "UnknownScope", "reviews:read")
		Expect(cp.Client.Delete(ctx, secretOf(ctx, key))).To(Succeed())
		env.reconcile(ctx, key)
		expectRefused(key, "UnknownScope", "reviews:read")
		expectSame(string(secretOf(ctx, key).Data["token"]), want)
	})
})

// loseRoot replaces the root key, as if it had been lost and another had been created, and the controller, as if it had
// not read the first one.
func (env *environment) loseRoot(ctx context.Context) {
	GinkgoHelper()
	root := &corev1.Secret{}
	Expect(cp.Client.Get(ctx, types.NamespacedName{Namespace: "apikey-system", Name: "apikey-root-1"}, root)).To(Succeed())
	replaced := root.DeepCopy()
	replaced.ResourceVersion, replaced.UID = "", ""
	replaced.Data = map[string][]byte{"key": []byte("another root key of 32 bytes....")}
	Expect(cp.Client.Delete(ctx, root)).To(Succeed())
	Expect(cp.Client.Create(ctx, replaced)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(cp.Client.Delete(ctx, replaced)).To(Succeed())
		root.ResourceVersion, root.UID = "", ""
		Expect(cp.Client.Create(ctx, root)).To(Succeed())
	})
	env.controller = env.newController(env.client)
}

// ownedBy returns a Secret that an ApiKey with another UID owns.
func ownedBy(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{
		APIVersion: "keys.nexuscommerce.io/v1alpha1", Kind: "ApiKey", Name: name,
		UID: "11111111-2222-4333-8444-555555555555", Controller: new(true),
	}}}}
}

func bytesOf(ctx context.Context, secret *corev1.Secret) string {
	GinkgoHelper()
	stored := &corev1.Secret{}
	Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(secret), stored)).To(Succeed())
	bytes, err := json.Marshal(stored)
	Expect(err).NotTo(HaveOccurred())
	return string(bytes)
}
