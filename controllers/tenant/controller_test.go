package tenant_test

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/tenant"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

func TestTenantController(t *testing.T) {
	need.ControlPlane(t)
	RegisterFailHandler(Fail)
	RunSpecs(t, "Tenant controller")
}

var cp *controlplane.ControlPlane

var _ = BeforeSuite(func() {
	var err error
	cp, err = controlplane.Start(controlplane.Options{})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cp.Stop() })
})

func create(ctx context.Context, objects ...client.Object) {
	GinkgoHelper()
	for _, object := range objects {
		Expect(cp.Client.Create(ctx, object)).To(Succeed())
	}
}

func read(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
}

// reconcile reads a tenant again, reconciles it once with a given cache and leaves it as it then is.
func reconcile(ctx context.Context, cache client.Client, t *keysv1alpha1.Tenant) {
	GinkgoHelper()
	read(ctx, t)
	controller := tenant.NewController(cache, cp.Client, clocktesting.NewFakePassiveClock(time.Now()))
	_, err := controller.Reconcile(ctx, t.DeepCopy())
	Expect(err).NotTo(HaveOccurred())
	read(ctx, t)
}

// withPlace gives a key a place in a tenant's ledger.
func withPlace(ctx context.Context, t *keysv1alpha1.Tenant, key *keysv1alpha1.ApiKey) {
	GinkgoHelper()
	read(ctx, t)
	place := keysv1alpha1.ActiveKey{UID: string(key.UID), Namespace: key.Namespace, Name: key.Name}
	t.Status.ActiveKeys = append(t.Status.ActiveKeys, place)
	Expect(cp.Client.Status().Update(ctx, t)).To(Succeed())
}

func ready(t *keysv1alpha1.Tenant) string {
	c := apimeta.FindStatusCondition(t.Status.Conditions, "Ready")
	Expect(c).NotTo(BeNil())
	return string(c.Status) + "/" + c.Reason
}

var _ = Describe("A tenant's ledger", func() {
	var (
		t   *keysv1alpha1.Tenant
		key *keysv1alpha1.ApiKey
	)

	BeforeEach(func(ctx SpecContext) {
		name := fixture.Name("tenant")
		t, key = fixture.Tenant(name), fixture.ApiKey(fixture.Name("ns"), "key")
		create(ctx, t, fixture.Namespace(key.Namespace, name), key)
		withPlace(ctx, t, key)
	})

	It("keeps the place of a key that exists", func(ctx SpecContext) {
		reconcile(ctx, cp.Client, t)
		Expect(t.Status.ActiveKeys).To(HaveLen(1))
		Expect(t.Status.Keys).To(Equal("1/20"))
	})

	DescribeTable("gives back the place of a key that is",
		func(ctx SpecContext, end func(context.Context, *keysv1alpha1.ApiKey)) {
			end(ctx, key)
			reconcile(ctx, cp.Client, t)
			Expect(t.Status.ActiveKeys).To(BeEmpty())
			Expect(t.Status.Keys).To(Equal("0/20"))
		},
		Entry("deleted", func(ctx context.Context, k *keysv1alpha1.ApiKey) {
			Expect(cp.Client.Delete(ctx, k)).To(Succeed())
		}),
		Entry("deleted, and created again under the same name", func(ctx context.Context, k *keysv1alpha1.ApiKey) {
			Expect(cp.Client.Delete(ctx, k)).To(Succeed())
			create(ctx, fixture.ApiKey(k.Namespace, k.Name))
		}),
		Entry("revoked", func(ctx context.Context, k *keysv1alpha1.ApiKey) {
			k.Spec.State = keysv1alpha1.ApiKeyRevoked
			Expect(cp.Client.Update(ctx, k)).To(Succeed())
		}),
		Entry("expired", func(ctx context.Context, k *keysv1alpha1.ApiKey) {
			expired := metav1.Condition{Type: "Expired", Status: metav1.ConditionTrue, Reason: "Expired"}
			apimeta.SetStatusCondition(&k.Status.Conditions, expired)
			Expect(cp.Client.Status().Update(ctx, k)).To(Succeed())
		}),
	)

	It("keeps the place of a key that the cache doesn't know yet (S3)", func(ctx SpecContext) {
		// It fails when Controller.done takes the cache's word for it that a key is gone.
		reconcile(ctx, emptyCache{Client: cp.Client}, t)
		Expect(t.Status.ActiveKeys).To(HaveLen(1))
	})

	It("gives back the place of a revoked key without reading it past the cache", func(ctx SpecContext) {
		// A key that is revoked stays so: a read past the cache for each would be one more thing that the API server
		// has to do then.
		key.Spec.State = keysv1alpha1.ApiKeyRevoked
		Expect(cp.Client.Update(ctx, key)).To(Succeed())
		read(ctx, t)
		live := &countingReader{Reader: cp.Client}
		controller := tenant.NewController(cp.Client, live, clocktesting.NewFakePassiveClock(time.Now()))
		_, err := controller.Reconcile(ctx, t.DeepCopy())
		Expect(err).NotTo(HaveOccurred())
		read(ctx, t)
		Expect(t.Status.ActiveKeys).To(BeEmpty())
		Expect(live.reads).To(BeZero())
	})

	It("is left alone when nothing has changed (L4)", func(ctx SpecContext) {
		reconcile(ctx, cp.Client, t)
		version := t.ResourceVersion
		reconcile(ctx, cp.Client, t)
		Expect(t.ResourceVersion).To(Equal(version))
	})
})

// countingReader counts what is read.
type countingReader struct {
	client.Reader
	reads int
}

func (r *countingReader) Get(
	ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption,
) error {
	r.reads++
	return r.Reader.Get(ctx, key, object, options...)
}

// emptyCache is a cache that has not seen any ApiKey.
type emptyCache struct{ client.Client }

func (c emptyCache) Get(
	ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption,
) error {
	if _, ok := object.(*keysv1alpha1.ApiKey); ok {
		key.Name += "-unknown"
	}
	return c.Client.Get(ctx, key, object, options...)
}

var _ = Describe("A tenant", func() {
	It("is Ready when its keys can work", func(ctx SpecContext) {
		t := fixture.Tenant(fixture.Name("tenant"))
		create(ctx, t)
		reconcile(ctx, cp.Client, t)
		Expect(ready(t)).To(Equal("True/Active"))
		Expect(t.Status.ObservedGeneration).To(Equal(t.Generation))
	})

	It("has no Ready condition while it is suspended", func(ctx SpecContext) {
		t := fixture.Tenant(fixture.Name("tenant"), func(t *keysv1alpha1.Tenant) {
			t.Spec.State = keysv1alpha1.TenantSuspended
		})
		create(ctx, t)
		reconcile(ctx, cp.Client, t)
		Expect(apimeta.IsStatusConditionTrue(t.Status.Conditions, "Suspended")).To(BeTrue())
		Expect(apimeta.FindStatusCondition(t.Status.Conditions, "Ready")).To(BeNil())
		Expect(apimeta.FindStatusCondition(t.Status.Conditions, "Stalled")).To(BeNil())
	})

	It("is stalled when its selector can't be evaluated", func(ctx SpecContext) {
		t := fixture.Tenant(fixture.Name("tenant"), func(t *keysv1alpha1.Tenant) {
			invalid := []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Nonsense"}}
			t.Spec.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: invalid}
		})
		create(ctx, t)
		reconcile(ctx, cp.Client, t)
		Expect(ready(t)).To(Equal("False/InvalidSelector"))
		Expect(apimeta.IsStatusConditionTrue(t.Status.Conditions, "Stalled")).To(BeTrue())
	})

	It("is stalled while an older tenant with its id exists", func(ctx SpecContext) {
		older := fixture.Tenant("a-" + fixture.Name("tenant"))
		younger := fixture.Tenant("b-"+fixture.Name("tenant"), func(t *keysv1alpha1.Tenant) { t.Spec.ID = older.Spec.ID })
		create(ctx, older, younger)
		reconcile(ctx, cp.Client, older)
		reconcile(ctx, cp.Client, younger)
		Expect(ready(older)).To(Equal("True/Active"))
		Expect(ready(younger)).To(Equal("False/DuplicateID"))
		Expect(cp.Client.Delete(ctx, older)).To(Succeed())
		reconcile(ctx, cp.Client, younger)
		Expect(ready(younger)).To(Equal("True/Active"))
		Expect(apimeta.FindStatusCondition(younger.Status.Conditions, "Stalled")).To(BeNil())
	})
})
