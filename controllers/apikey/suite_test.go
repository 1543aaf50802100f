package apikey_test

import (
	"context"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/credentials"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/keycache/keycachetest"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/rollout"
	"github.com/nexuscommerce/apikey-operator/controllers/tenant"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

func TestApiKeyController(t *testing.T) {
	need.ControlPlane(t)
	RegisterFailHandler(Fail)
	RunSpecs(t, "ApiKey controller")
}

var (
	cp     *controlplane.ControlPlane
	policy *keysv1alpha1.AccessPolicy
)

var _ = BeforeSuite(func(ctx SpecContext) {
	SetDefaultEventuallyTimeout(30 * time.Second)
	var err error
	cp, err = controlplane.Start(controlplane.Options{})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cp.Stop() })
	policy = fixture.Policy("nexuscommerce")
	Expect(cp.Client.Create(ctx, policy)).To(Succeed())
})

// environment is what one test runs in: a tenant with a namespace of its own, and a controller that is called by hand,
// reads past any cache, and takes its time from a clock that stands still.
type environment struct {
	tenant     *keysv1alpha1.Tenant
	namespace  *corev1.Namespace
	clock      *clocktesting.FakePassiveClock
	events     *events.FakeRecorder
	client     *countingClient
	controller *apikey.Controller
}

func newEnvironment(ctx context.Context, change ...func(*keysv1alpha1.Tenant)) *environment {
	GinkgoHelper()
	name := fixture.Name("tenant")
	env := &environment{
		tenant:    fixture.Tenant(name, change...),
		namespace: fixture.Namespace(fixture.Name("ns"), name),
		clock:     clocktesting.NewFakePassiveClock(time.Now()),
		events:    events.NewFakeRecorder(100),
		client:    &countingClient{Client: cp.Client},
	}
	Expect(cp.Client.Create(ctx, env.tenant)).To(Succeed())
	Expect(cp.Client.Create(ctx, env.namespace)).To(Succeed())
	// The controller starts without the verifiers of other tests.
	registry := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: controlplane.SystemNamespace, Name: rollout.RegistryName},
	}
	Expect(client.IgnoreNotFound(cp.Client.Delete(ctx, registry))).To(Succeed())
	env.controller = env.newController(env.client)
	return env
}

func (env *environment) newController(c client.Client, change ...func(*apikey.Options)) *apikey.Controller {
	o := apikey.Options{
		Client:    c,
		Live:      c,
		Roots:     c,
		Metadata:  keycachetest.Live{Reader: c},
		Keys:      keycachetest.Live{Reader: c},
		Tenants:   keycachetest.Live{Reader: c},
		Recorder:  env.events,
		Clock:     env.clock,
		Namespace: controlplane.SystemNamespace,
		Formats: credentials.Formats{
			keysv1alpha1.EnvironmentLive: token.FormatLive,
			keysv1alpha1.EnvironmentTest: token.FormatTest,
		},
		ExpiryWarnings: []time.Duration{7 * 24 * time.Hour, 24 * time.Hour},
	}
	for _, c := range change {
		c(&o)
	}
	return apikey.NewController(o)
}

// create creates a key and reconciles it once.
func (env *environment) create(ctx context.Context, change ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey {
	GinkgoHelper()
	key := fixture.ApiKey(env.namespace.Name, fixture.Name("key"), change...)
	Expect(cp.Client.Create(ctx, key)).To(Succeed())
	env.reconcile(ctx, key)
	return key
}

// reconcile reads a key again, reconciles it once and leaves it as it then is.
func (env *environment) reconcile(ctx context.Context, key *keysv1alpha1.ApiKey) reconcile.Result {
	GinkgoHelper()
	read(ctx, key)
	result, err := env.controller.Reconcile(ctx, key.DeepCopy())
	Expect(err).NotTo(HaveOccurred())
	read(ctx, key)
	return result
}

// update reads a key again, changes it, writes it and reconciles it once.
func (env *environment) update(
	ctx context.Context, key *keysv1alpha1.ApiKey, change func(*keysv1alpha1.ApiKey),
) reconcile.Result {
	GinkgoHelper()
	read(ctx, key)
	change(key)
	Expect(cp.Client.Update(ctx, key)).To(Succeed())
	return env.reconcile(ctx, key)
}

// settleTenant reconciles the tenant once.
func (env *environment) settleTenant(ctx context.Context) {
	GinkgoHelper()
	read(ctx, env.tenant)
	_, err := tenant.NewController(cp.Client, cp.Client, env.clock).Reconcile(ctx, env.tenant.DeepCopy())
	Expect(err).NotTo(HaveOccurred())
}

func read(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
}

func secretOf(ctx context.Context, key *keysv1alpha1.ApiKey) *corev1.Secret {
	GinkgoHelper()
	Expect(key.Status.SecretName).NotTo(BeEmpty())
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Status.SecretName}}
	read(ctx, secret)
	return secret
}

// condition returns a condition's status and reason, such as "True/Ready", or "" where there is none.
func condition(key *keysv1alpha1.ApiKey, conditionType string) string {
	c := apimeta.FindStatusCondition(key.Status.Conditions, conditionType)
	if c == nil {
		return ""
	}
	return string(c.Status) + "/" + c.Reason
}

func message(key *keysv1alpha1.ApiKey, conditionType string) string {
	c := apimeta.FindStatusCondition(key.Status.Conditions, conditionType)
	if c == nil {
		return ""
	}
	return c.Message
}

// expectReady expects a key to be Ready, and its Secret to hold the token that its status announces.
func expectReady(ctx context.Context, key *keysv1alpha1.ApiKey) {
	GinkgoHelper()
	Expect(condition(key, "Ready")).To(Equal("True/Ready"), message(key, "Ready"))
	Expect(condition(key, "Reconciling")).To(BeEmpty())
	Expect(condition(key, "Stalled")).To(BeEmpty())
	Expect(condition(key, "Suspended")).To(BeEmpty())
	Expect(key.Status.ObservedGeneration).To(Equal(key.Generation))
	secret := secretOf(ctx, key)
	Expect(metav1.IsControlledBy(secret, key)).To(BeTrue())
	// Compared as digests: a failed comparison must not print a token.
	newest := key.Status.Credentials[len(key.Status.Credentials)-1]
	Expect(token.DigestOf(string(secret.Data["token"])).String()).To(Equal(newest.Digest))
}

// expectSame expects two texts that may hold a token to be equal. A failed comparison prints neither.
func expectSame(got, want string) {
	GinkgoHelper()
	Expect(token.DigestOf(got)).To(Equal(token.DigestOf(want)))
}

// expectRefused expects a fault that only a person can fix.
func expectRefused(key *keysv1alpha1.ApiKey, reason, messagePart string) {
	GinkgoHelper()
	Expect(condition(key, "Ready")).To(Equal("False/" + reason))
	Expect(condition(key, "Stalled")).To(Equal("True/" + reason))
	Expect(condition(key, "Reconciling")).To(BeEmpty())
	Expect(message(key, "Ready")).To(ContainSubstring(messagePart))
	Expect(key.Status.ObservedGeneration).To(Equal(key.Generation))
}

// expectAtRest expects a state that the user has requested: it has a condition of its own name, and no Ready.
func expectAtRest(key *keysv1alpha1.ApiKey, state string) {
	GinkgoHelper()
	Expect(condition(key, state)).To(Equal("True/" + state))
	for _, absent := range []string{"Ready", "Reconciling", "Stalled"} {
		Expect(condition(key, absent)).To(BeEmpty(), absent)
	}
	Expect(key.Status.ObservedGeneration).To(Equal(key.Generation))
}

// countingClient counts writes, and how often Secrets are read, one by one or together.
type countingClient struct {
	client.Client
	writes int
	// ledgers are the writes of tenants' ledgers.
	ledgers              int
	secrets, secretLists int
	secretListsFail      bool
	// beforeLedger, if not nil, is called before a ledger is written.
	beforeLedger func()
}

func (c *countingClient) Get(
	ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption,
) error {
	if _, ok := obj.(*corev1.Secret); ok {
		c.secrets++
	}
	return c.Client.Get(ctx, key, obj, opts...)
}

func (c *countingClient) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	rootKeys := slices.Contains(opts, client.ListOption(client.InNamespace(controlplane.SystemNamespace)))
	if _, ok := list.(*corev1.SecretList); ok && !rootKeys {
		c.secretLists++
		if c.secretListsFail {
			return apierrors.NewTooManyRequests("later", 1)
		}
	}
	return c.Client.List(ctx, list, opts...)
}

func (c *countingClient) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	c.writes++
	return c.Client.Create(ctx, obj, opts...)
}

func (c *countingClient) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	c.writes++
	return c.Client.Update(ctx, obj, opts...)
}

func (c *countingClient) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	c.writes++
	return c.Client.Delete(ctx, obj, opts...)
}

func (c *countingClient) Status() client.SubResourceWriter {
	return &countingStatusWriter{SubResourceWriter: c.Client.Status(), client: c}
}

type countingStatusWriter struct {
	client.SubResourceWriter
	client *countingClient
}

func (w *countingStatusWriter) Update(
	ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption,
) error {
	w.client.writes++
	if _, ok := obj.(*keysv1alpha1.Tenant); ok {
		w.client.ledgers++
		if w.client.beforeLedger != nil {
			w.client.beforeLedger()
		}
	}
	return w.SubResourceWriter.Update(ctx, obj, opts...)
}

func (w *countingStatusWriter) Patch(
	ctx context.Context, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption,
) error {
	w.client.writes++
	return w.SubResourceWriter.Patch(ctx, obj, patch, opts...)
}
